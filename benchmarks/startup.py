#!/usr/bin/env python3
"""Measure how much of a study's time is start-up: of its jobs, by stage, and of Snakemake.

    python benchmarks/startup.py --starts warm cold --output benchmarks/results/startup.json

The study, by default `studies/digits.yaml`, is run to its end once with jobs that are forked from a
warm process and once with cold ones. `computing` is the time in the stages' functions, after their
imports, as each job's log says; `seconds` are those of Snakemake's benchmark files. Processor time
is that of the run with every process that it started. Goal: half of the jobs' seconds go into
computing, and that study takes 3 min 30 s on two cores that nothing else uses.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: What the frame of a job writes into its log at the end.
LINE = re.compile(r"computing took ([\d.]+) s, ([\d.]+) s of .*; with all around it ([\d.]+) s")
_SUBREAPER = 36


def measured(folder: Path, study: Path, cores: int, *options: str) -> dict[str, float]:
    """Run Snakemake and wait for all that it started; return its times."""
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(ROOT / "profiles" / "default")),
        *("--directory", str(folder), "--cores", str(cores), *options),
        *("--configfile", str(study)),
    ]
    began, before = time.monotonic(), _used()
    with (folder / "snakemake.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        code = process.wait()
    seconds = time.monotonic() - began
    while True:  # A warm process ends after Snakemake, and is a child of this process then.
        try:
            os.wait()
        except ChildProcessError:
            break
    if code:
        raise RuntimeError((folder / "snakemake.log").read_text()[-4000:])
    return {"seconds": round(seconds, 1), "cpu_seconds": round(_used() - before, 1)}


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stages_of(results: Path) -> dict[str, dict[str, float]]:
    """Add up the times of the jobs of each stage."""
    stages: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for benchmark in (results / "benchmarks").rglob("*.tsv"):
        job = benchmark.relative_to(results / "benchmarks").with_suffix(".log")
        stage = stages[Path(job.parts[0]).stem]
        with benchmark.open() as file:
            stage["seconds"] += float(next(csv.DictReader(file, delimiter="\t"))["s"])
        computing, computing_cpu, cpu = LINE.search((results / "logs" / job).read_text()).groups()
        stage["jobs"] += 1
        stage["computing_seconds"] += float(computing)
        stage["computing_cpu_seconds"] += float(computing_cpu)
        stage["cpu_seconds"] += float(cpu)
    return {name: _rounded(sums) for name, sums in sorted(stages.items())}


def _rounded(sums: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in sums.items()}


def measure(study: Path, cores: int, start: str) -> dict[str, Any]:
    """Run the study once."""
    os.environ["XFERPIPE_WARM"] = "off" if start == "cold" else ""
    with tempfile.TemporaryDirectory(prefix="startup-") as name:
        folder = Path(name)
        planning = measured(folder, study, cores, "--dry-run", "--quiet", "all")
        run = measured(folder, study, cores)
        (results,) = (folder / "results").iterdir()
        stages = stages_of(results)
    whole: dict[str, float] = defaultdict(float)
    for sums in stages.values():
        for key, value in sums.items():
            whole[key] += value
    return {
        "start": start,
        "planning": planning,
        "run": run,
        "jobs": _rounded(whole),
        "share_of_job_seconds_computing": round(whole["computing_seconds"] / whole["seconds"], 3),
        "share_of_cpu_computing": round(whole["computing_cpu_seconds"] / run["cpu_seconds"], 3),
        "stages": stages,
    }


def main() -> None:
    """Measure each kind of start and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", nargs="+", choices=["warm", "cold"], default=["warm", "cold"])
    parser.add_argument("--study", type=Path, default=ROOT / "studies" / "digits.yaml")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/startup.json")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    runs = []
    for start in options.starts:
        load = round(os.getloadavg()[0], 1)
        found = measure(options.study.resolve(), options.cores, start)
        runs.append({"load_before": load, **found})
        print(json.dumps(runs[-1]), flush=True)
        report = {
            "study": options.study.name,
            "cores": options.cores,
            "python": platform.python_version(),
            "torch": version("torch"),
            "snakemake": version("snakemake"),
            "processors": os.cpu_count(),
            "runs": runs,
        }
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
