"""Run the benchmarks: `python -m benchmarks [op ...] [--threads N] [--rounds N] [--size S]`."""

import argparse
import importlib

import torch

from xferpipe import ops

from . import common

OPS = (
    "rank_metrics", "nearest", "label_correlation", "gradient_sketch", "gradient_gram",
    "k_reciprocal",
)  # fmt: skip


def main():
    """Run the chosen benchmarks, print them and write one CSV per op."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ops", nargs="*", default=OPS, help=f"some of {', '.join(OPS)}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--size",
        choices=("full", "quarter", "quick"),
        default="full",
        help="full: the sizes of docs/performance.md; quarter: what a busy machine can do; quick: "
        "seconds in all, no CSV",
    )
    options = parser.parse_args()
    unknown = set(options.ops) - set(OPS)
    if unknown:
        parser.error(f"{sorted(unknown)} is no benchmark: choose from {', '.join(OPS)}")
    torch.set_num_threads(options.threads)
    status = ops.native_status()
    if not status.loaded:
        raise SystemExit(f"the native extension is not in use: {status.reason}")
    for name in options.ops:
        # Beside each op, since a shared machine's limits drift.
        peak, copy = common.measured_peak(options.threads), common.measured_copy(options.threads)
        limits = f"multiply-add peak {peak / 1e9:.0f} GFLOP/s, copy {copy / 1e9:.0f} GB/s"
        print(f"\n== {name}: {limits}, {common.clock(options.threads)[1]} clock")
        rows = []
        for case in importlib.import_module(f".{name}", __package__).cases(options.size):
            found = common.run(case, options.rounds, options.threads, peak)
            common.show(found)
            rows += found
        if options.size != "quick":
            suffix = f"{name}_{options.size}_threads{options.threads}"
            print(f"  -> {common.write(rows, suffix, limits)}")


if __name__ == "__main__":
    main()
