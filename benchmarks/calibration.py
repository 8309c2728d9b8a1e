#!/usr/bin/env python3
"""Hold what the evidence claims against simulated studies whose truth is known.

    python -m benchmarks calibration                       # 2,000 studies a setting, all settings
    python -m benchmarks calibration --quick               # 100 studies, about two minutes
    python -m benchmarks calibration --only null adaptive  # settings whose names hold a word

A setting is measured on as many processes as there are cores and written to
`results/calibration.json` when it is done; a setting that was there is replaced.

The truth of a pair (model, recipe) is its accuracy over all seeds and images. The pick is the pair
with the highest mean of those that were run. It is *right* where it is within the indifference of
the best, *strictly* right where no pair is better.
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
from typing import Any, NamedTuple

import numpy
import polars
from tests.evidence.simulated import NEW, generate

from xferpipe.config.race import Budget, Race
from xferpipe.evidence.history import earlier_targets
from xferpipe.evidence.posterior import belief, table
from xferpipe.evidence.race import LEVEL, answer, measured_pairs
from xferpipe.seeding import stream

from .replays.measures import BINS
from .replays.rounds import rounds
from .replays.settings import Kind, kinds
from .replays.simulated import history_of

ROOT = Path(__file__).resolve().parents[1]
INDIFFERENCE, CONFIDENCE = 0.01, 0.9


class Found(NamedTuple):
    """What was said of one study, and what was true; figures are fractions."""

    probability_best: float
    probability_near_best: float
    named: float
    settled: float
    right: float
    strict: float
    covered_pick: float
    covered_all: float
    regret: float
    expected_regret: float
    runs: float


def study_of(kind: Kind, index: int, seed: int) -> Found:
    """Look at study `index` of a kind."""
    (study,) = generate(kind.setting, 1, stream(seed, "study", index))
    history = history_of(study).filter(polars.col("target") != NEW)
    runs, scores, truth = (frame.filter(polars.col("target") == NEW) for frame in study)
    if kind.seeds is None:
        runs = raced(runs, scores, truth, history, kind.setting.seeds, index)
    else:
        runs = runs.filter(polars.col("seed") < kind.seeds)
    held = belief(runs, scores, polars.DataFrame(), earlier_targets(history), truth, seed=index)
    known = table(held, runs, indifference=INDIFFERENCE, level=LEVEL)
    found = answer(known, measured_pairs(truth, runs), CONFIDENCE)
    true = truth["accuracy"].to_numpy()
    pick = int(known["mean"].arg_max()) if found.pick is None else found.pick
    covered = (known["low"].to_numpy() <= true) & (true <= known["high"].to_numpy())
    # Equal models differ by the rounding of their sums.
    regret = float(true.max() - true[pick])
    return Found(
        known["probability_best"][pick],
        known["probability_near_best"][pick],
        found.named,
        found.settled,
        regret <= INDIFFERENCE,
        regret <= 1e-9,
        covered[pick],
        covered.mean(),
        regret,
        known["expected_regret"][pick],
        runs.height,
    )


def raced(
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    pairs: polars.DataFrame,
    history: polars.DataFrame,
    seeds: int,
    seed: int,
) -> polars.DataFrame:
    """Return those of a target's runs that a race asks for before it ends."""
    race = Race(
        budget=Budget(runs=runs.height),
        confidence=CONFIDENCE,
        indifference=INDIFFERENCE,
        seeds=seeds,
    )
    zoo = polars.DataFrame()
    *_, last = rounds(race, pairs, runs, scores, zoo, history, slots=race.slots, seed=seed)
    return last.seen


def summary(found: Sequence[Found]) -> dict[str, Any]:
    """Return shares and means over studies, and their standard errors where one may doubt."""
    columns = {
        name: numpy.array([getattr(one, name) for one in found], float) for name in Found._fields
    }
    named, settled = columns["named"] > 0, columns["settled"] > 0
    return {
        "studies": len(found),
        "named": _share(columns["named"]),
        "named_probability": _mean(columns["probability_best"][named]),
        "named_right": _share(columns["right"][named]),
        "named_strictly_right": _share(columns["strict"][named]),
        "settled": _share(columns["settled"]),
        "settled_probability": _mean(columns["probability_near_best"][settled]),
        "settled_right": _share(columns["right"][settled]),
        "covered_pick": _share(columns["covered_pick"]),
        "covered_all": _share(columns["covered_all"]),
        "probability_best": _bins(columns["probability_best"], columns["strict"]),
        "probability_near_best": _bins(columns["probability_near_best"], columns["right"]),
        "regret": _mean(columns["regret"]),
        "expected_regret": _mean(columns["expected_regret"]),
        "runs": _mean(columns["runs"]),
    }


def _mean(values: numpy.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _share(values: numpy.ndarray) -> dict[str, float] | None:
    """Return a share over studies with its standard error."""
    if not len(values):
        return None
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {"share": round(float(values.mean()), 4), "error": round(float(error), 4)}


def _bins(stated: numpy.ndarray, right: numpy.ndarray) -> list[dict[str, float]]:
    """Return, for each bin of the stated probability, how often it came true."""
    place = numpy.digitize(stated, BINS) - 1
    return [
        {
            "from": BINS[i],
            "studies": int((place == i).sum()),
            "stated": _mean(stated[place == i]),
            "right": _mean(right[place == i]),
        }
        for i in numpy.unique(place)
    ]


HEADER = (
    f"{'setting':37} {'studies':>7} {'named':>6} {'stated':>6} {'right':>6} {'strict':>6} "
    f"{'settled':>7} {'stated':>6} {'right':>6} {'pick in':>7} {'all in':>6} {'runs':>5}"
)


def line(name: str, row: dict[str, Any]) -> str:
    """Return a row of the printed table."""

    def text(value: Any) -> str:
        value = value["share"] if isinstance(value, dict) else value
        return "-" if value is None else f"{value:.3f}"

    return (
        f"{name:37} {row['studies']:7} {text(row['named']):>6} {text(row['named_probability']):>6} "
        f"{text(row['named_right']):>6} {text(row['named_strictly_right']):>6} "
        f"{text(row['settled']):>7} {text(row['settled_probability']):>6} "
        f"{text(row['settled_right']):>6} {text(row['covered_pick']):>7} "
        f"{text(row['covered_all']):>6} {row['runs']:5.1f}"
    )


def main() -> None:
    """Measure the settings and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000, help="of each setting")
    parser.add_argument("--quick", action="store_true", help="100 studies, nothing is written")
    parser.add_argument("--only", nargs="+", help="settings whose names hold one of these words")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "calibration.json"
    )
    options = parser.parse_args()
    studies = 100 if options.quick else options.studies
    chosen = {
        name: kind
        for name, kind in kinds().items()
        if not options.only or any(word in name for word in options.only)
    }
    if not chosen:
        parser.error(f"no setting holds {options.only}: there are {', '.join(kinds())}")
    # Many small matrices: a second thread for each would only get in the way of the processes.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    report = {"settings": {}}
    if options.output.exists() and not options.quick:
        report = json.loads(options.output.read_text())
    if not options.json:
        print(HEADER, flush=True)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for name, kind in chosen.items():
            look = partial(study_of, kind, seed=options.seed)
            row = {"seed": options.seed} | summary(pool.map(look, range(studies), chunksize=10))
            print(json.dumps({name: row}) if options.json else line(name, row), flush=True)
            # Other seeds are other studies: they stand beside those of seed 0.
            stored = f"{name} (seed {options.seed})" if options.seed else name
            report["settings"][stored] = row
            if not options.quick:
                options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
