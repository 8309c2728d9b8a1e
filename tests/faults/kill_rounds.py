#!/usr/bin/env python3
"""Kill a running study at random times, change a value, finish it, and compare with a calm run.

    python tests/faults/kill_rounds.py --rounds 20 --output benchmarks/results/kill_rounds.json

A round kills Snakemake alone (its jobs live on as orphans), one job, or every process of the run,
with SIGKILL. Then a value of the study is changed, the study is unlocked and run again to its end,
and orphans are waited for. The tables must be those of an undisturbed run of the changed study, and
a further run must have nothing to do. A round in which the run was over before its time came is
played again, so each one has killed something. `--resume` goes on with the rounds that the output
lacks. Prints one line a round; leaves with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from same_tables import differences

ROOT = Path(__file__).resolve().parents[2]
VICTIMS = ("snakemake", "job", "everything")
TABLES = Path("results", "faults", "tables")
#: What changes between the kill and the restart: an early, a middle and a late value.
CHANGES = (
    ("pretraining_recipes", "upstream", "epochs", 3),
    ("finetuning_recipes", "sgd", "lr", 0.03),
    ("datasets", "digits", "maximum_images_per_class", 25),
)


def command(folder: Path, *options: str) -> list[str]:
    """Return the command line that runs the study in `folder` up to its tables."""
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(ROOT / "profiles" / "default")),
        *("--directory", str(folder)),
        *("--cores", "2", *options),
        *("--configfile", str(folder / "study.yaml")),
        *("--", "aggregate"),
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


def change(folder: Path, block: str, name: str, key: str, value: float) -> None:
    """Change one value of the study in a folder."""
    file = folder / "study.yaml"
    study = yaml.safe_load(file.read_text())
    study[block][name][key] = value
    file.write_text(yaml.safe_dump(study, sort_keys=False))


def orphans(folder: Path) -> list[psutil.Process]:
    """Return the scripts of rules that still run in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = process.info["cmdline"] or []
        if process.info["cwd"] == str(folder) and ".snakemake/scripts" in " ".join(line):
            found.append(process)
    return found


def disturbed(
    folder: Path, victim: str, generator: random.Random, seconds: float
) -> dict[str, Any]:
    """Kill a run at a random time, again until something died; say when and what."""
    while True:
        prepared(folder)
        began = time.monotonic()
        run = start(folder)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(generator.uniform(0.05, 0.95) * seconds)
        killed: list[str] = []
        while not killed and run.poll() is None:  # Between two jobs there is none to kill.
            at_seconds = time.monotonic() - began
            killed = kill(run, victim, generator)
            time.sleep(0.02)
        if victim == "job":
            run.wait(900)
        if killed:
            return {"at_seconds": round(at_seconds, 2), "killed": killed}
        shutil.rmtree(folder)


def one_round(base: Path, number: int, changes: int, seed: int, seconds: float) -> dict[str, Any]:
    """Kill one run, change the study, finish it, compare with an undisturbed run of the change."""
    folder = base / f"round{number}"
    victim, changed = VICTIMS[number % len(VICTIMS)], number // len(VICTIMS) % changes
    fault = disturbed(folder, victim, random.Random(f"{seed} {number}"), seconds)
    change(folder, *CHANGES[changed])
    alive = [rule_of(process) for process in orphans(folder)]
    runs = finish(folder)
    psutil.wait_procs(orphans(folder), timeout=300)
    result = {
        "round": number,
        "victim": victim,
        **fault,
        "changed": ".".join(map(str, CHANGES[changed][:-1])),
        "orphans": alive,
        "runs_to_finish": runs,
        "differences": differences(base / f"undisturbed{changed}" / TABLES, folder / TABLES),
        "jobs_planned_after": jobs_planned(folder),
        "left_over": sorted(
            str(path.relative_to(folder))
            for pattern in ("*.partial", "*.pt", ".unfinished-*")
            for path in (folder / "results").rglob(pattern)
        ),
    }
    shutil.rmtree(folder)
    return result


def jobs_planned(folder: Path) -> int:
    """Return how many jobs a further run would have: none, where every result is the study's."""
    done = subprocess.run(
        command(folder, "--dry-run", "--quiet", "rules"), capture_output=True, text=True, check=True
    )
    total = re.search(r"^total +(\d+)", done.stdout + done.stderr, re.MULTILINE)
    return int(total[1]) if total else 0


def commit() -> str:
    """Return the commit that runs, `-dirty` where files differ from it."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    """Run the rounds and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="rounds in the output in the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--changes", type=int, default=len(CHANGES), help="values to change")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="keep the rounds of the output")
    options = parser.parse_args()
    rounds = []
    if options.resume and options.output.exists():
        rounds = json.loads(options.output.read_text())["rounds"]
    with tempfile.TemporaryDirectory(prefix="kill-rounds-") as name:
        base = Path(name)
        for number, changed in enumerate(CHANGES[: options.changes]):
            undisturbed = prepared(base / f"undisturbed{number}")
            change(undisturbed, *changed)
            began = time.monotonic()
            if start(undisturbed).wait(900) != 0:
                raise RuntimeError((undisturbed / "snakemake.log").read_text()[-4000:])
            seconds = time.monotonic() - began
        for number in range(len(rounds), options.rounds):
            result = one_round(base, number, options.changes, options.seed, seconds)
            rounds.append(result)
            print(json.dumps(result), flush=True)
            report = {
                "command": f"python tests/faults/kill_rounds.py --rounds {options.rounds} "
                f"--seed {options.seed}",
                "commit": commit(),
                "python": platform.python_version(),
                "processors": os.cpu_count(),
                "undisturbed_seconds": round(seconds, 1),
                "rounds_with_differences": sum(bool(each["differences"]) for each in rounds),
                "rounds": rounds,
            }
            options.output.write_text(json.dumps(report, indent=1) + "\n")
    bad = [result for result in rounds if result["differences"] or result["jobs_planned_after"]]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
