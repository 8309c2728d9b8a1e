#!/usr/bin/env python3
"""Measure the memory of gathering a study's rows, against reading them all at once.

    python benchmarks/aggregation.py --rows 100000 1000000 4000000

Fine-tunes of a made-up retrieval study are written as the stages write them: for each run 1,678
rows of `retrieval_queries` (the queries of VeRi-776) and 90 of `epochs`. Then, each in a process of
its own: stage `aggregate` over all files, and polars reading every file, concatenating them and
writing the same two tables (`eager`). Memory is the process's peak less what it had after its
imports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
import polars

from xferpipe.records import empty, frame, write_table

ROOT = Path(__file__).resolve().parents[1]
QUERIES, EPOCHS = 1678, 90
MODELS = 25

START = """
import json, sys
from pathlib import Path
import polars, pyarrow.parquet, xferpipe.aggregate.gather, xferpipe.aggregate.selection
from xferpipe.records import result_files
from xferpipe.stages.aggregate import aggregate
from xferpipe.config.jobs import AggregateJob
from xferpipe.config.study import Selection
folder = Path(sys.argv[1])
runs = sorted(folder.glob("runs/*"))
# Not ru_maxrss: it starts from that of the process which this one was forked from.
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
imported = peak()
"""
OURS = """
aggregate(
    AggregateJob(
        study="a", selection=Selection(), licences={}, source_licences={}, seed=0,
        targets={"veri": {"dataset": "veri", "task": "retrieval"}}, target_licences={},
    ),
    rows={
        "epochs": [run / "epochs.parquet" for run in runs],
        "scores": sorted(folder.glob("scores/*")),
        "finetunes": [run / "run.parquet" for run in runs],
        "retrieval": [run / "retrieval.parquet" for run in runs],
        "retrieval_queries": [run / "queries.parquet" for run in runs],
    },
    benchmarks=[],
    tables=result_files(folder / "tables"),
)
"""
EAGER = """
for name in ("epochs", "queries"):
    parts = [polars.read_parquet(run / f"{name}.parquet") for run in runs]
    polars.concat(parts).write_parquet(folder / f"{name}.parquet", compression="zstd")
"""
END = "print(json.dumps({'peak': peak(), 'imported': imported}))\n"


def write_study(folder: Path, rows: int) -> int:
    """Write the files of a study of at least so many rows; return how many those are."""
    runs = -(-rows // (QUERIES + EPOCHS))
    generator = numpy.random.default_rng(0)
    keys = [
        {"target": "veri", "shots": "full", "model": f"model_{run % MODELS}"} for run in range(runs)
    ]
    for model in range(MODELS):
        row = {"target": "veri", "shots": "full", "model": f"model_{model}", "method": "lfc"}
        row |= {"variant": "", "value": generator.random(), "seconds": 1.0}
        write_table("scores", frame("scores", [row]), folder / "scores" / f"{model}.parquet")
    for run, key in enumerate(keys):
        key |= {"recipe": f"recipe_{run // MODELS}", "seed": 0}
        place = folder / "runs" / f"{run:05}"
        row = key | {"task": "retrieval", "judged_by": "map", "status": "finished"}
        row |= {"seconds": 60.0}
        write_table("finetunes", frame("finetunes", [row]), place / "run.parquet")
        row = key | {"reranked": False, "map": generator.random(), "seconds": 1.0}
        write_table("retrieval", frame("retrieval", [row]), place / "retrieval.parquet")
        queries = {
            "reranked": False,
            "draw": 0,
            "query": range(QUERIES),
            "path": [f"image_query/{i:04}_c{i % 20:03}.jpg" for i in range(QUERIES)],
            "identity": [i // 8 for i in range(QUERIES)],
            "camera": [i % 20 for i in range(QUERIES)],
            "ap": generator.random(QUERIES),
            "inp": generator.random(QUERIES),
            "first_hit": generator.integers(1, 50, QUERIES),
            "positives": generator.integers(1, 70, QUERIES),
            "junk": generator.integers(0, 5, QUERIES),
        }
        _write("retrieval_queries", key | queries, QUERIES, place / "queries.parquet")
        epochs = {
            "stage": "finetune",
            "epoch": range(1, EPOCHS + 1),
            "learning_rate": generator.random(EPOCHS),
            "train_loss": generator.random(EPOCHS),
            "train_accuracy": generator.random(EPOCHS),
            "seconds": generator.random(EPOCHS),
        }
        _write("epochs", key | epochs, EPOCHS, place / "epochs.parquet")
    return runs * (QUERIES + EPOCHS)


def _write(table: str, columns: dict[str, Any], rows: int, path: Path) -> None:
    schema = empty(table).schema
    series = []
    for name, type_ in schema.items():
        value = columns.get(name)
        values = [value] * rows if value is None or isinstance(value, str | int) else list(value)
        series.append(polars.Series(name, values, dtype=type_))
    write_table(table, polars.DataFrame(series), path)


def measured(folder: Path, code: str) -> dict[str, float]:
    """Run one contender in a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", START + code + END, str(folder)], stdout=subprocess.PIPE, text=True
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"the contender failed:\n{code}")
    memory = json.loads(output.splitlines()[-1])
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_mib": round((memory["peak"] - memory["imported"]) / 1024),
        "peak_memory_mib": round(memory["peak"] / 1024),
    }


def main() -> None:
    """Measure the sizes and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 4_000_000])
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "aggregation.json"
    )
    options = parser.parse_args()
    sizes = " ".join(map(str, options.rows))
    results = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="aggregation-") as name:
            count = write_study(Path(name), rows)
            ours, eager = (measured(Path(name), code) for code in (OURS, EAGER))
        results.append({"rows": count, "aggregate": ours, "eager": eager})
        print(json.dumps(results[-1]), flush=True)
        report = {
            "command": f"python benchmarks/aggregation.py --rows {sizes}",
            "python": platform.python_version(),
            "polars": version("polars"),
            "processors": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "sizes": results,
        }
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
