"""Every score of 2,500 probe images with 2,048 features in 100 classes, and LGC given the factors.

    python benchmarks/scores.py [--threads 2] [--methods lfc,leep,...] [--lgc] [--csv FILE]

Goals on 2 cores: all scores but LGC in 20 s; exact LGC in 60 s given the factors of a 512 -> 2,048
convolution at 7 x 7 positions. Each score runs once, after its module is loaded; the spectrum that
several of them read is made once, before them, and has a row of its own. Wall seconds are what the
goals mean; processor seconds beside them are what a busy machine does not stretch.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--methods", default="")
parser.add_argument("--lgc", action="store_true")
parser.add_argument("--csv", type=Path)
parser.add_argument("--images", type=int, default=2500)
options = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(options.threads)

import numpy  # noqa: E402  (thread counts are read when it is imported)
import torch  # noqa: E402

from xferpipe import ops  # noqa: E402
from xferpipe.config.scores import METHODS  # noqa: E402
from xferpipe.scores.inputs import Inputs  # noqa: E402
from xferpipe.scores.registry import arguments_of, resolve  # noqa: E402

CLASSES, FEATURES = 100, 2048


def made(n: int) -> Inputs:
    """Draw rectified features around class means, a source head of 1,000 and its class means."""
    generator = numpy.random.default_rng(0)
    labels = numpy.arange(n) % CLASSES
    means = 0.1 * generator.standard_normal((CLASSES, FEATURES))
    features = numpy.maximum(generator.standard_normal((n, FEATURES)) + means[labels], 0)
    return Inputs(
        features=features.astype(numpy.float32),
        labels=labels,
        source_probabilities=generator.dirichlet(numpy.ones(1000), n),
        class_means=generator.standard_normal((1000, FEATURES)),
        class_counts=numpy.arange(1, 1001),
        source_accuracy=0.5,
        parameters=42_000_000,
        reference_features=generator.standard_normal((n, 512)),
    )


def timed(name: str, run) -> dict[str, object]:
    """Run once and print what it took."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    row = {
        "method": name,
        "threads": options.threads,
        "images": options.images,
        "wall_seconds": round(time.perf_counter() - wall, 3),
        "processor_seconds": round(time.process_time() - processor, 3),
    }
    print(f"{name:22s} {row['wall_seconds']:9.2f} {row['processor_seconds']:9.2f}", flush=True)
    return row


def lgc() -> None:
    """Compute exact LGC from factors."""
    generator = torch.Generator().manual_seed(0)
    factors = tuple(
        torch.randn((options.images, channels, 49), generator=generator) for channels in (2048, 512)
    )
    labels = numpy.arange(options.images) % CLASSES
    score = resolve("lgc")
    rows.append(timed("lgc", lambda: score({"exact": ops.gradient_gram(factors).numpy()}, labels)))


torch.set_num_threads(options.threads)
rows: list[dict[str, object]] = []
inputs = made(options.images)
wanted = [name for name in options.methods.split(",") if name]
print(f"{'method':22s} {'wall s':>9s} {'cpu s':>9s}")
rows.append(timed("spectrum", lambda: inputs.spectrum))
for method in wanted or [name for name in METHODS if name not in ("lgc", "random")]:
    function = resolve(method)
    needed, optional = arguments_of(function)
    given = {name: getattr(inputs, name) for name in needed + optional}
    rows.append(timed(method, lambda f=function, g=given: f(**g)))
wall, processor = (sum(row[k] for row in rows) for k in ("wall_seconds", "processor_seconds"))
print(f"{'all':22s} {wall:9.2f} {processor:9.2f}")
if options.lgc:
    lgc()
if options.csv:
    with options.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
