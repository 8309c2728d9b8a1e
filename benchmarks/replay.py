#!/usr/bin/env python3
"""Replay races on targets of which every run is known, against other ways to spend the time.

    python -m benchmarks replay              # the shipped history and the published tables
    python -m benchmarks replay --quick      # a part of them, in under two minutes
    python -m benchmarks replay --json       # the result as JSON

A target is replayed with the history of all other image sources. Costs are fine-tuning seconds of
the stored runs, as shares of those of brute force; what scores took is reported beside. A pick is
judged by its mean test figure over all seeds. Where a strategy draws (orders, seeds), its
figures are means over replays. Without a shipped history simulated tables stand in, and the
result says so. It is written to `results/replay.json`; a quick one is not.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from xferpipe.config.histories import shipped
from xferpipe.evidence.history import read_history

from .replays.one_target import AGAINST, Effort, replayed
from .replays.simulated import brute_forced
from .replays.summary import summary
from .replays.tables import BruteForced, of_history, published

ROOT = Path(__file__).resolve().parents[1]


def show(name: str, result: dict[str, Any]) -> None:
    """Print the table of one source of targets."""
    print(f"\n{name}: {result['targets']} targets of {result['sources']} image sources")
    for against, words in zip(AGAINST, ("the best on test", "brute force's pick"), strict=True):
        print(f"\n  against {words:20} within 1 %, share of cost            mean regret at")
        print(
            f"  {'':30} {'quartiles':>20} {'for good':>8} {'never':>6} "
            f"{'10 %':>7} {'25 %':>7} {'50 %':>7} {'end':>7} {'cost':>6}"
        )
        for strategy, both in result["strategies"].items():
            row = both[against]
            quartiles = " ".join("  none" if q is None else f"{q:6.3f}" for q in row["within"])
            good = row["within_for_good"][1]
            regrets = " ".join(
                f"{row[f'regret_{part}']['mean']:7.4f}" for part in ("10%", "25%", "50%", "100%")
            )
            print(
                f"  {strategy:30} {quartiles} {'none' if good is None else f'{good:.3f}':>8} "
                f"{row['within_for_good_never']:6.2f} {regrets} {row['cost']['mean']:6.3f}"
            )
    print()
    for strategy, found in result["race_less_top_3_by_score"].items():
        if found:
            print(f"  regret of {strategy} less that of top 3, at its cost: {_interval(found)}")
    for when, row in result["claims"].items():
        print(
            f"  claims at {when:4}: named {row['named']['mean']:.2f}; 90 % intervals hold of the "
            f"pick {_interval(row['foretold_covered_pick'])}, of all "
            f"{_interval(row['foretold_covered_all'])}"
        )
    for stated, bins in result["reliability"].items():
        print(
            f"  {stated}: "
            + "; ".join(
                f"{one['stated']:.2f} came true in {one['came_true']['mean']:.2f} of "
                f"{one['answers']}"
                for one in bins
            )
        )


def _interval(found: dict[str, float]) -> str:
    if found["low"] is None:
        return f"{found['mean']:.4f}"
    return f"{found['mean']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"


def main() -> None:
    """Replay, print, and write the result after each table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every fourth target, one race each")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    parser.add_argument("--history", type=Path, nargs="+", help="tables in place of the shipped")
    parser.add_argument("--orders", type=int, default=100, help="replays of the plain strategies")
    parser.add_argument("--races", type=int, default=3, help="replays of the races")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "replay.json"
    )
    options = parser.parse_args()
    # Many small matrices: a second thread for each would only get in the way of the processes.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    tables, left_out = tables_of(options.history, options.seed)
    effort = Effort(options.orders, options.races)
    if options.quick:
        tables = {name: targets[::4] for name, targets in tables.items()}
        effort = Effort(20, 1)
    report: dict[str, Any] = {"left_out": left_out, **effort._asdict(), "tables": {}}
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for name, targets in tables.items():
            replay = partial(replayed, effort=effort, seed=options.seed)
            found = pool.map(replay, targets, chunksize=1)
            report["tables"][name] = {**summary(found), "by_target": found}
            if not options.json:
                show(name, report["tables"][name])
            text = json.dumps(_finite(report), indent=1)
            if not options.quick:
                options.output.write_text(text + "\n")
    if options.json:
        print(text)


def tables_of(
    history: Sequence[Path] | None, seed: int
) -> tuple[dict[str, list[BruteForced]], list[str]]:
    """Return the targets of every table, and in words what was left out."""
    paths = list(history or shipped())
    if paths:
        targets, left_out = of_history(read_history(paths))
        name = "history"
    else:
        targets, left_out = of_history(brute_forced(seed=seed))
        left_out.append("no history is shipped: simulated tables stand in")
        name = "simulated"
    return {name: targets, **published(seed=seed)}, left_out


def _finite(value: Any) -> Any:
    """Replace infinite costs (never) by null, which JSON has."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
