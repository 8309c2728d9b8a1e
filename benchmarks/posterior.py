#!/usr/bin/env python3
"""Measure what an answer takes: the posterior of 50 models with four recipes, on one core.

    python -m benchmarks posterior                # writes results/posterior.json
    python -m benchmarks posterior --models 20

Processor seconds, best of three: of a whole call of `xferpipe.evidence.posterior`, with none, one
and three runs of each pair, without history and with the shipped one. Goal: 2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

#: Threads of the libraries; they read it when they are loaded.
_ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")

OUTPUT = Path(__file__).parent / "results" / "posterior.json"
ROUNDS = 3


def measure(models: int, recipes: int, seeds: int, shipped: bool) -> dict[str, Any]:
    """Time the posterior of one simulated study.

    Args:
        models, recipes: Whose pairs are asked for.
        seeds: Runs of each pair; 0: none.
        shipped: Whether the shipped history is known.
    """
    import polars
    from tests.evidence.simulated import Setting, generate

    from xferpipe.config import histories
    from xferpipe.evidence import posterior
    from xferpipe.evidence.history import read_history

    setting = Setting(models, recipes, max(1, seeds), recipe_spread=0.02, interaction_spread=0.01)
    (study,) = generate(setting, 1)
    runs = study.runs if seeds else study.runs.clear()
    history = read_history(histories.shipped() if shipped else [])
    pairs = study.truth.select("model", "recipe")
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        posterior(runs, study.scores, polars.DataFrame(), history, candidates=pairs)
        taken.append(time.process_time() - start)
    return {
        "models": models,
        "recipes": recipes,
        "runs": runs.height,
        "earlier_targets": history.select("study", "target", "shots").n_unique(),
        "seconds": round(min(taken), 2),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--recipes", type=int, default=4)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    os.environ |= _ONE
    rows = []
    for seeds in (0, 1, 3):
        for shipped in (False, True):
            rows.append(measure(options.models, options.recipes, seeds, shipped))
            print(rows[-1], flush=True)
    report = {"python": platform.python_version(), "threads": 1, "rounds": ROUNDS, "rows": rows}
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
