#!/usr/bin/env python3
"""Measure what planning costs: the DAG and the no-op check of studies of many jobs.

    python benchmarks/scale.py --jobs 1000 10000 50000 --output benchmarks/results/scale.json

For each size a study is made with that many jobs. Two things are timed, each in a process of its
own: planning from nothing, and, once every output is in place and recorded as a finished run
leaves it, finding that nothing is to be done. `--profile` says where the time of that goes. Goal:
the no-op check of 10,000 jobs in 30 s and 2 GiB.
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
from collections import Counter
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
        *("--directory", str(folder), "--cores", "1", "--quiet", "rules"),
        *options,
        *("--configfile", str(folder / "study.yaml")),
    ]


#: Snakemake whose scheduler starts no job: from first to last it makes each output of a job as a
#: small file that carries the job's key, and has Snakemake record it, with the very call that ends
#: a job. (Snakemake's own `--touch` sleeps 0.1 s a job, and makes nothing.)
FINISH = """
import json
from pathlib import Path
import pyarrow, pyarrow.parquet
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler
from xferpipe.graph import rules
from xferpipe.records.stamp import stamped_text, stamping, write_sidecar

SCHEMA = pyarrow.schema([("a", pyarrow.int64())])

def write(path, stamp):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        with pyarrow.parquet.ParquetWriter(path, SCHEMA) as writer:
            writer.add_key_value_metadata(stamp.metadata())
    elif path.suffix == ".safetensors":
        header = json.dumps({"__metadata__": stamp.metadata()}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    elif path.suffix in (".html", ".svg"):
        path.write_text(stamped_text(""))
    elif path.suffix != ".json":
        path.touch()
        write_sidecar(path, stamp)

def schedule(self):
    keys = rules.latest().keys
    async def finish():
        for level in self.workflow.dag.toposorted():
            for job in level:
                if job.rule.name != "all":
                    stamp = keys(job.rule.name, *map(str, job.wildcards)).stamp
                    with stamping(stamp):
                        for output in job.output:
                            write(Path(output), stamp)
                    benchmark = Path(job.benchmark)
                    benchmark.parent.mkdir(parents=True, exist_ok=True)
                    benchmark.touch()
                await self.workflow.persistence.finished(job)
    self.workflow.async_run(finish())
    return True

JobScheduler.schedule = schedule
main()
"""


def measured(
    folder: Path, *options: str, python: tuple[str, ...] = ("-m", "snakemake")
) -> dict[str, float]:
    """Run Snakemake in a process of its own; return its time and peak memory."""
    began = time.monotonic()
    with (folder / "snakemake.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *python, *command(folder, *options)], stdout=log, stderr=log
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


def profiled(folder: Path) -> dict[str, Any]:
    """Say where a no-op check spends its time, by package and by function, under cProfile."""
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
    packages: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, _) in costs.items():
        packages[package_of(file)] += own
    whole = sum(packages.values())
    keys = sum(
        total
        for (file, _, function), (_, _, _, total, _) in costs.items()
        if file.endswith("graph/keys.py") and function == "__call__"
    )
    functions = []
    for (file, _, function), (_, calls, own, total, _) in sorted(
        costs.items(), key=lambda item: -item[1][2]
    )[:15]:
        place = re.sub(r".*/(site-packages|src|lib/python[^/]*)/", "", file)
        functions.append(
            f"{own / whole:.1%} own, {total / whole:.1%} in all, {calls} calls: {place} {function}"
        )
    return {
        "seconds_under_profile": round(whole, 1),
        "share_of_slices_and_keys": round(keys / whole, 3),
        "share_of_packages": {n: round(own / whole, 3) for n, own in packages.most_common(8)},
        "costly_functions": functions,
    }


def package_of(file: str) -> str:
    """Return the package that a source file belongs to."""
    if file == "~":
        return "built-in functions"
    if match := re.search(r"/(?:site-packages|src)/(\w+)", file):
        return match[1]
    if file.endswith(".smk") or file.endswith("Snakefile"):
        return "rules of the workflow"
    return "standard library"


def measure(jobs: int, *, profile: bool) -> dict[str, Any]:
    """Measure one size."""
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        (folder / "study.yaml").write_text(yaml.safe_dump(study_of(jobs)))
        planning = measured(folder, "--dry-run")
        log = (folder / "snakemake.log").read_text()
        count = int(re.search(r"^total +(\d+)$", log, re.MULTILINE)[1]) - 1  # Without `all`.
        recording = measured(folder, python=("-c", FINISH))
        metadata = (folder / ".snakemake" / "metadata").rglob("*")
        records = sum(path.is_file() for path in metadata)
        no_op = measured(folder, "--dry-run")
        if "Nothing to be done" not in (folder / "snakemake.log").read_text():
            raise RuntimeError("the finished study is not finished for Snakemake")
        result = {
            "jobs": count,
            "records": records,
            "plan": planning,
            "recording": recording,
            "no_op": no_op,
        }
        return result | ({"profile": profiled(folder)} if profile else {})
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure the sizes and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/scale.json")
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
