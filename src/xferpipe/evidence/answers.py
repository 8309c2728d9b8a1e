"""The answer for one target: what each pair is worth, which group may be the best, what is next.

All pairs share one posterior. The question "which is the best" is put among the pairs that were run
or race; a pair that merely could be run is set against them, and is what one more run may buy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy
import polars

from xferpipe.evidence.cost import expected_seconds
from xferpipe.evidence.gain import run_gain, run_noise
from xferpipe.evidence.history import EarlierTarget
from xferpipe.evidence.posterior import Belief, belief, standing
from xferpipe.evidence.race import answer, measured_pairs
from xferpipe.evidence.reported import gains, test_split_figures
from xferpipe.records import empty

#: What an answer stands on: runs of the target, earlier targets alone, or neither.
RUNS, HISTORY, NOTHING = "runs", "history", "nothing"
#: Table `answers` but for what the caller knows; without rows.
_NONE = empty("answers").drop("target", "shots", "metric", "chosen_on")
#: Gains of less than this are rounding.
_NO_GAIN = 1e-6


class Asked(NamedTuple):
    """What is asked of an answer.

    Attributes:
        confidence: Probability that a name needs.
        indifference: Difference of figures, as a fraction, that does not matter.
        level: Of the intervals.
        reference: Model that gains are counted from; None: the median of the compared pairs.
    """

    confidence: float = 0.9
    indifference: float = 0.01
    level: float = 0.95
    reference: str | None = None


def answer_for(
    asked: Asked,
    candidates: polars.DataFrame,
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    zoo: polars.DataFrame,
    earlier: Sequence[EarlierTarget],
    timed: polars.DataFrame | None = None,
) -> polars.DataFrame:
    """Say what is known of each pair on one target and shots.

    Args:
        asked: What the answer is to hold.
        candidates: Pairs that can be run: model, recipe, races (whether the pair is compared
            although it was not run).
        runs: One row a run: model, recipe, seed, status, validation (fraction, what choices read;
            null: the run is reported and chooses nothing), images, outcomes, seconds as in
            `posterior`; test (fraction or null), test_images (count or null) and
            effective_images (of as many single answers right or wrong the figure has the noise;
            null: unknown).
        scores: Rows of table `scores` of the target and shots.
        zoo: Rows of table `zoo`.
        earlier: Earlier targets; may be empty.
        timed: Runs on other targets (model, recipe, seconds) that costs are taken from where the
            target has none.
    Returns:
        Table `answers` but for target, shots, metric and chosen_on: one row a pair, what was
        compared first and the highest mean before the others.
    """
    seen = runs.filter(
        polars.col("validation").is_not_null() | (polars.col("status") != "finished")
    )
    pairs = polars.concat([seen.select("model", "recipe"), candidates.select("model", "recipe")])
    pairs = pairs.unique(maintain_order=True)
    if not pairs.height:
        return _NONE
    held = belief(seen, scores, zoo, list(earlier), pairs)
    was_run = _flags(pairs, seen.select("model", "recipe"))
    compared = was_run | _flags(pairs, candidates.filter("races"))
    if not compared.any():
        compared[:] = True
    foretold = HISTORY if numpy.ptp(held.mean) > 1e-9 else NOTHING
    basis = RUNS if was_run.any() else foretold
    has_time = seen["seconds"].drop_nulls().len() > 0
    spent = seen if has_time or timed is None else timed
    cost = (
        expected_seconds(pairs, spent, zoo, earlier)
        if spent["seconds"].drop_nulls().len()
        else None
    )
    known = (
        pairs.with_columns(
            **standing(held.draws, compared, indifference=asked.indifference, level=asked.level)
        )
        .join(_totals(seen), on=["model", "recipe"], how="left", maintain_order="left")
        .join(
            test_split_figures(
                runs,
                pairs.with_columns(seed_variance=polars.Series(held.seed_variance)),
                asked.level,
            ),
            on=["model", "recipe"],
            how="left",
            maintain_order="left",
        )
        .with_columns(
            polars.col("runs").fill_null(0),
            polars.col("seconds").fill_null(0.0),
            basis=polars.lit(basis),
            compared=polars.Series(compared),
            cost=polars.Series(
                [None] * pairs.height if cost is None else cost, dtype=polars.Float64
            ),
            confidence=polars.lit(asked.confidence),
            indifference=polars.lit(asked.indifference),
            level=polars.lit(asked.level),
        )
    )
    known = known.with_columns(
        **_verdict(known, measured_pairs(pairs, seen), asked),
        **gains(known, held.draws, zoo, asked.reference, asked.level),
        **_next(held, cost),
    )
    if basis == NOTHING:
        known = known.with_columns(**_unknown())
    return known.sort(
        "compared", "mean", descending=True, nulls_last=True, maintain_order=True
    ).select(_NONE.columns)


def _flags(pairs: polars.DataFrame, some: polars.DataFrame) -> numpy.ndarray:
    named = set(some.select("model", "recipe").rows())
    return numpy.array([pair in named for pair in pairs.rows()], dtype=bool)


def _totals(seen: polars.DataFrame) -> polars.DataFrame:
    """Count the runs of each pair, their seconds and the images of validation."""
    return seen.group_by("model", "recipe").agg(
        runs=polars.len().cast(polars.Int64),
        seconds=polars.col("seconds").sum(),
        images=polars.col("images").max().cast(polars.Int64),
    )


def _verdict(
    known: polars.DataFrame, measured: numpy.ndarray, asked: Asked
) -> dict[str, polars.Series]:
    """Say which pairs are in the top group, which is its cheapest, and whether one is named."""
    compared = numpy.flatnonzero(known["compared"])
    found = answer(known.filter("compared"), measured[compared], asked.confidence)
    top = numpy.zeros(known.height, dtype=bool)
    top[compared] = found.top
    pick, cheapest = (numpy.zeros(known.height, dtype=bool) for _ in range(2))
    if found.pick is not None:
        pick[compared[found.pick]] = True
    cost = known["cost"].to_numpy()
    ready = numpy.flatnonzero(top & measured & numpy.isfinite(cost))
    if len(ready):
        cheapest[ready[cost[ready].argmin()]] = True
    # A name needs a rival.
    rivals = len(compared) > 1
    flags = {
        "top": top,
        "cheapest": cheapest,
        "pick": pick,
        "named": pick & (found.named and rivals),
        "settled": pick & (found.settled and rivals),
    }
    return {name: polars.Series(values) for name, values in flags.items()}


def _next(held: Belief, cost: numpy.ndarray | None) -> dict[str, polars.Series]:
    """Return what one more run of each pair is worth, and which is worth most for its time."""
    mean = held.mean
    gain = run_gain(mean, held.covariance, run_noise(held), held.counts > 0)
    best = float(numpy.clip(mean.max(), 0, numpy.pi))
    # An angle is worth sin(angle) / 2 of a fraction.
    gain = gain * numpy.sin(best) / 2
    gain[gain < _NO_GAIN] = 0.0
    favourite = int((gain / (1.0 if cost is None else cost)).argmax())
    chosen = (numpy.arange(len(mean)) == favourite) & (gain > 0)
    return {"next_gain": polars.Series(gain), "next": polars.Series(chosen)}


def _unknown() -> dict[str, polars.Expr]:
    """Return what stands in the columns where neither runs nor earlier targets say anything."""
    figures = ("mean", "low", "high", "expected_regret", "next_gain")
    chances = ("probability_best", "probability_near_best")
    nothing = dict.fromkeys((*figures, *chances), polars.lit(None, polars.Float64))
    return nothing | dict.fromkeys(("top", "next"), polars.lit(value=False))
