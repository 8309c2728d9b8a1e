#!/usr/bin/env python3
"""Evaluate a gallery that lies on disk: seconds, and how much more memory is resident.

    python benchmarks/gallery.py [--rows 500000] [--threads 2] [--rounds 3] [--csv FILE]

A gallery of clustered float32 features is written as NPY and as Parquet. Every contender then runs
in a process of its own, all taking turns: it first evaluates a small gallery, so that libraries,
threads and scratch are there, and then the large one. The memory is the highest resident set of
that run over the one before it; pages of mapped files count. Peers give the 50 nearest rows of each
query and no figures. The share of the peak is that of processor time, which a busy machine hardly
stretches: multiply-adds that the products need per second of it, over those of a loop of nothing
else, measured in each process before it starts.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy
import polars
import pyarrow
import pyarrow.parquet
import torch

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.feature_files import opened
from xferpipe.retrieval.files import ranked_files

CLOCKS = ("seconds", "processor_seconds")
WIDTH, IDENTITIES, TOP = 512, 20_000, 50
COLUMNS = (
    "contender", "returns", "rows", "queries", "features", "threads", "rounds", "seconds",
    "processor_seconds", "times_slower_than_ours", "processor_ratio", "share_of_peak",
    "extra_memory_mb", "gallery_mb",
)  # fmt: skip


def write(folder: Path, queries: int, rows: int) -> None:
    """Write queries, a small gallery and the large one, each as NPY and as Parquet."""
    random = numpy.random.default_rng(0)
    centre = random.standard_normal((IDENTITIES, WIDTH), dtype="float32")
    for name, count in (("query", queries), ("small", 2000), ("gallery", rows)):
        identity = random.integers(0, min(IDENTITIES, rows // 25), count)
        camera = random.integers(0, 20, count)
        polars.DataFrame({"identity": identity, "camera": camera}).write_csv(folder / f"{name}.csv")
        kinds = [("identity", pyarrow.int64()), ("camera", pyarrow.int64())]
        schema = pyarrow.schema([*kinds, ("feature", pyarrow.list_(pyarrow.float32(), WIDTH))])
        features = numpy.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype="float32", shape=(count, WIDTH)
        )
        with pyarrow.parquet.ParquetWriter(folder / f"{name}.parquet", schema) as file:
            for first in range(0, count, 100_000):
                own = slice(first, first + 100_000)
                noise = random.standard_normal((len(identity[own]), WIDTH), dtype="float32")
                features[own] = centre[identity[own]] + 3 * noise
                part = pyarrow.FixedSizeListArray.from_arrays(features[own].ravel(), WIDTH)
                columns = [identity[own], camera[own], part]
                file.write_table(pyarrow.table(columns, schema=schema))


def ours(folder: Path, name: str, ending: str) -> dict[str, float]:
    """Evaluate as `xferpipe retrieve` does."""
    options = Retrieval(normalised=False)
    with opened(folder / "query.npy") as query, opened(folder / f"{name}{ending}") as gallery:
        return ranked_files(query, gallery, options, lists=False).figures[0]


def mapped(folder: Path, name: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the queries and a mapped gallery."""
    return numpy.load(folder / "query.npy"), numpy.load(folder / f"{name}.npy", mmap_mode="r")


def by_faiss(folder: Path, name: str) -> None:
    """Search by faiss's brute force, which takes a mapped array."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    faiss.knn(*mapped(folder, name), TOP)


def by_torch(folder: Path, name: str) -> None:
    """Search by distances of 16,384 rows at a time, the best of them merged."""
    found, gallery = mapped(folder, name)
    query = torch.from_numpy(found)
    best, rows = torch.empty((len(query), 0)), torch.empty((len(query), 0), dtype=torch.int64)
    for first in range(0, len(gallery), 16_384):
        block = torch.from_numpy(numpy.array(gallery[first : first + 16_384]))
        near = torch.cdist(query, block).topk(min(TOP, len(block)), largest=False)
        best, order = torch.cat([best, near.values], 1).topk(TOP, largest=False)
        rows = torch.cat([rows, near.indices + first], 1).gather(1, order)


CONTENDERS = {
    "ours, NPY": ("CMC, mAP, mINP", lambda *of: ours(*of, ".npy")),
    "ours, Parquet": ("CMC, mAP, mINP", lambda *of: ours(*of, ".parquet")),
    "faiss-cpu knn": (f"top {TOP}", by_faiss),
    "torch cdist + topk by blocks": (f"top {TOP}", by_torch),
}


def measured(name: str, folder: Path, threads: int) -> dict[str, object]:
    """Run one contender here; return seconds, memory and the peak of this very moment."""
    torch.set_num_threads(threads)
    run = CONTENDERS[name][1]
    peak = common.measured_peak(1)  # by processor time, whatever the number of threads
    run(folder, "small")
    results = []
    wall, processor = time.perf_counter(), time.process_time()
    memory = common.extra_memory_mb(lambda: results.append(run(folder, "gallery")))
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "peak": peak,
        "memory": memory,
        "figures": results[0],
    }


def child(name: str, folder: Path, threads: int) -> dict[str, object]:
    """Run one contender in a process of its own."""
    words = ["--contender", name, "--folder", str(folder), "--threads", str(threads)]
    command = [sys.executable, __file__, *words]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Measure every contender and write one row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--queries", type=int, default=3_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measured(options.contender, options.folder, options.threads)))
        return
    runs: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write(folder, options.queries, options.rows)
        for _ in range(options.rounds):
            for name, found in runs.items():
                found.append(child(name, folder, options.threads))
                print(name, found[-1], flush=True)
    npy, parquet = (run[0]["figures"] for run in list(runs.values())[:2])
    for figure in ("rank1", "map", "minp"):
        if npy[figure] != parquet[figure]:
            raise RuntimeError(f"{figure} is {npy[figure]} of NPY but {parquet[figure]} of Parquet")
    operations = 2.0 * options.queries * options.rows * WIDTH
    best = {
        name: {clock: min(run[clock] for run in found) for clock in CLOCKS}
        for name, found in runs.items()
    }
    rows = []
    for name, found in runs.items():
        wall, processor = (best[name][clock] for clock in CLOCKS)
        shares = [operations / run["processor_seconds"] / run["peak"] for run in found]
        row = {
            "contender": name,
            "returns": CONTENDERS[name][0],
            "rows": options.rows,
            "queries": options.queries,
            "features": WIDTH,
            "threads": options.threads,
            "rounds": options.rounds,
            "seconds": f"{wall:.2f}",
            "processor_seconds": f"{processor:.2f}",
            "times_slower_than_ours": f"{wall / best['ours, NPY']['seconds']:.2f}",
            "processor_ratio": f"{processor / best['ours, NPY']['processor_seconds']:.2f}",
            # Each run by the peak that it met; the best of them.
            "share_of_peak": f"{max(shares):.2f}",
            "extra_memory_mb": f"{max(run['memory'] for run in found):.0f}",
            "gallery_mb": f"{4 * WIDTH * options.rows / 2**20:.0f}",
        }
        rows.append(row)
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    if options.csv:
        peaks = [run["peak"] / 1e9 for found in runs.values() for run in found]
        with options.csv.open("w", newline="") as file:
            file.write(f"# {common.processor()}, torch {torch.__version__}\n")
            speed = f"{min(peaks):.0f} to {max(peaks):.0f} GFLOP per processor second"
            file.write(f"# multiply-add peak {speed}\n")
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
