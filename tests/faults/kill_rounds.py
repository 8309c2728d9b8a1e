#!/usr/bin/env python3
"""Kill a running study at random times, finish it, and compare its tables with a calm run's.

    python tests/faults/kill_rounds.py --rounds 20 --output benchmarks/results/kill_rounds.json

A round kills Snakemake alone, one job, or every process of the run, with SIGKILL. Then the study is
unlocked and run again to its end. Prints one line a round; leaves with 1 if any row was lost,
duplicated or changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from same_tables import differences

ROOT = Path(__file__).resolve().parents[2]
VICTIMS = ("snakemake", "job", "everything")
TABLES = Path("results", "tables")


def command(folder: Path, *options: str) -> list[str]:
    """Return the command line that runs the study in `folder` up to its tables."""
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(ROOT / "profiles" / "default")),
        *("--directory", str(folder)),
        *("--cores", "2", *options),
        *("--configfile", str(folder / "study.yaml")),
        *("--", str(TABLES)),
    ]


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start the study in a session of its own; every step of a training writes a checkpoint."""
    with (folder / "snakemake.log").open("ab") as log:
        return subprocess.Popen(
            command(folder, *options),
            env={**os.environ, "XFERPIPE_CHECKPOINT_SECONDS": "0"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def jobs_of(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes that run the scripts of rules."""
    found = []
    try:
        children = psutil.Process(run.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    for process in children:
        try:
            line = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if len(line) == 2 and ".snakemake/scripts" in line[1]:
            found.append(process)
    return found


def rule_of(job: psutil.Process) -> str:
    """Return the rule that a script's process belongs to, from the script's name."""
    try:
        return job.cmdline()[1].split(".")[-2]
    except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
        return "(ended)"


def kill(run: subprocess.Popen[bytes], victim: str, generator: random.Random) -> list[str]:
    """Kill and return the names of what died."""
    jobs = jobs_of(run)
    names = sorted(rule_of(job) for job in jobs)
    if victim == "everything":
        # In a session of its own, the run is one process group: all of it dies at one instant.
        os.killpg(run.pid, signal.SIGKILL)
        return ["snakemake", *names]
    if victim == "snakemake":
        run.send_signal(signal.SIGKILL)
        return ["snakemake"]
    if not jobs:
        return []
    job = generator.choice(jobs)
    name = rule_of(job)
    try:
        job.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return []
    return [name]


def finish(folder: Path) -> int:
    """Run the study to its end as a user would; return how many runs that took."""
    for attempt in range(1, 4):
        if start(folder, "--unlock").wait(300) != 0:
            continue
        if start(folder).wait(900) == 0:
            return attempt
    raise RuntimeError(
        f"{folder} does not finish:\n{(folder / 'snakemake.log').read_text()[-4000:]}"
    )


def prepared(folder: Path) -> Path:
    """Make a folder with the study in it."""
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("study.yaml"), folder)
    return folder


def one_round(
    base: Path, number: int, victim: str, generator: random.Random, seconds: float
) -> dict[str, Any]:
    """Kill one run at a random time, finish it, compare it."""
    folder = prepared(base / f"round{number}")
    at_seconds = generator.uniform(0.05, 0.95) * seconds
    run = start(folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(at_seconds)
    killed = kill(run, victim, generator) if run.poll() is None else []
    run.wait(900)
    runs = finish(folder)
    result = {
        "round": number,
        "victim": victim,
        "at_seconds": round(at_seconds, 2),
        "killed": killed,
        "runs_to_finish": runs,
        "differences": differences(base / "undisturbed" / TABLES, folder / TABLES),
        "left_over": sorted(
            str(path.relative_to(folder))
            for pattern in ("*.partial", "*.pt")
            for path in (folder / "results").rglob(pattern)
        ),
    }
    shutil.rmtree(folder)
    return result


def main() -> int:
    """Run the rounds and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-rounds-") as name:
        base = Path(name)
        undisturbed = prepared(base / "undisturbed")
        began = time.monotonic()
        if start(undisturbed).wait(900) != 0:
            raise RuntimeError((undisturbed / "snakemake.log").read_text()[-4000:])
        seconds = time.monotonic() - began
        rounds = []
        for number in range(options.rounds):
            victim = VICTIMS[number % len(VICTIMS)]
            result = one_round(base, number, victim, generator, seconds)
            rounds.append(result)
            print(json.dumps(result), flush=True)
            report = {
                "command": f"python tests/faults/kill_rounds.py --rounds {options.rounds} "
                f"--seed {options.seed}",
                "python": platform.python_version(),
                "processors": os.cpu_count(),
                "undisturbed_seconds": round(seconds, 1),
                "rounds": rounds,
            }
            options.output.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if any(result["differences"] for result in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
