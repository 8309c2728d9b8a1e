#!/usr/bin/env python3
"""Measure what planning costs: the DAG and the no-op check of studies of many jobs.

    python benchmarks/scale.py --jobs 1000 10000 50000 --output benchmarks/results/scale.json

For each size a study is made with that many jobs. Two things are timed, each in a process of its
own: planning from nothing, and, once every output is in place and recorded by Snakemake (`--touch
--forceall`), finding that nothing is to be done. `--profile` says which functions take the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pstats
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TARGETS = 10


def study_of(jobs: int) -> dict[str, Any]:
    """Make a study of so many jobs: a load a model; features, scores, a fine-tune a target."""
    models = max(1, round((jobs - 2 * TARGETS) / (1 + 3 * TARGETS)))
    names = [f"target_{i}" for i in range(TARGETS)]
    return {
        "name": "scale",
        "datasets": {
            name: {"reader": "digits", "classes": [i, (i + 1) % 10]} for i, name in enumerate(names)
        },
        "targets": {name: {"dataset": name} for name in names},
        "finetuning_recipes": {"sgd": {"epochs": 1}},
        "zoo": {
            f"model_{i}": {"architecture": "cifar_resnet8", "weights": "random"}
            for i in range(models)
        },
        "finetunes": [{"recipes": ["sgd"]}],
    }


def command(folder: Path, *options: str) -> list[str]:
    """Return Snakemake's arguments for the study in `folder`."""
    return [
        *("--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(ROOT / "profiles" / "default")),
        *("--directory", str(folder), "--cores", "1", "--quiet", "all"),
        *options,
        *("--configfile", str(folder / "study.yaml")),
    ]


def measured(folder: Path, *options: str) -> dict[str, float]:
    """Run Snakemake in a process of its own; return its time and peak memory."""
    began = time.monotonic()
    with (folder / "snakemake.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *command(folder, *options)], stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError((folder / "snakemake.log").read_text()[-4000:])
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_memory_gib": round(usage.ru_maxrss * 1024 / 2**30, 2),
    }


def put_outputs(folder: Path) -> int:
    """Create every output as an empty file and let Snakemake record it; return the jobs."""
    script = (
        "import sys, json\n"
        "from xferpipe.rebuild.plan import planned_jobs\n"
        "jobs = planned_jobs(sys.argv[1:])\n"
        "print('OUTPUTS', json.dumps([list(job.outputs) for job in jobs]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command(folder)], capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("OUTPUTS "))
    jobs = json.loads(line.removeprefix("OUTPUTS "))
    for outputs in jobs:
        for output in outputs:
            path = folder / output
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.touch()
            else:
                path.mkdir(exist_ok=True)
    measured(folder, "--touch", "--forceall")
    return len(jobs)


def costly_functions(folder: Path) -> list[str]:
    """Return the functions of a no-op check that take the most time themselves."""
    record = folder / "profile"
    subprocess.run(
        [
            *(sys.executable, "-m", "cProfile", "-o", str(record), "-m", "snakemake"),
            *command(folder, "--dry-run"),
        ],
        check=True,
        capture_output=True,
    )
    costs: dict[tuple[str, int, str], tuple[int, int, float, float, Any]]
    costs = pstats.Stats(str(record)).stats  # type: ignore[attr-defined]
    lines = []
    ordered = sorted(costs.items(), key=lambda item: -item[1][2])
    for (file, _, function), (_, calls, own, total, _) in ordered[:20]:
        place = re.sub(r".*/(site-packages|src|lib/python[^/]*)/", "", file)
        lines.append(f"{own:.2f} s own, {total:.2f} s in all, {calls} calls: {place} {function}")
    return lines


def measure(jobs: int, *, profile: bool) -> dict[str, Any]:
    """Measure one size."""
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        (folder / "study.yaml").write_text(yaml.safe_dump(study_of(jobs)))
        planning = measured(folder, "--dry-run")
        count = put_outputs(folder)
        metadata = (folder / ".snakemake" / "metadata").rglob("*")
        records = sum(path.is_file() for path in metadata)
        no_op = measured(folder, "--dry-run")
        result = {"jobs": count, "records": records, "plan": planning, "no_op": no_op}
        return result | ({"costly": costly_functions(folder)} if profile else {})
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure the sizes and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--profile", action="store_true", help="List the costly functions too.")
    options = parser.parse_args()
    results = []
    for jobs in options.jobs:
        results.append(measure(jobs, profile=options.profile))
        print(json.dumps(results[-1]), flush=True)
        report = {
            "python": platform.python_version(),
            "snakemake": version("snakemake"),
            "processors": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "sizes": results,
        }
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
