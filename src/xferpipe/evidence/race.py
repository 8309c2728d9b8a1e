"""The decision of a race's round: what is known of each candidate, and which runs are next."""

from __future__ import annotations

from typing import NamedTuple

import numpy
import polars

from xferpipe.config.race import Race
from xferpipe.evidence.cost import expected_seconds
from xferpipe.evidence.gain import observed, run_gain, run_noise
from xferpipe.evidence.history import earlier_targets
from xferpipe.evidence.posterior import Belief, belief, table
from xferpipe.records import empty

#: Columns of a decision: those of table `decisions` that do not say which round it is.
COLUMNS = dict(empty("decisions").drop("target", "shots", "round").schema)
#: Level of the intervals of a decision.
LEVEL = 0.9


class Answer(NamedTuple):
    """What a posterior amounts to.

    Attributes:
        pick: Index of the pair to take: the highest mean among those with a figure of their own.
            None where no run has one.
        named: Whether it is the best with the confidence asked for.
        settled: Whether it is within the indifference of the best with that confidence.
        top: Pairs that may be the best: those whose probability of being within the indifference
            of the best is more than what the confidence leaves, bool (P).
    """

    pick: int | None
    named: bool
    settled: bool
    top: numpy.ndarray


def measured_pairs(pairs: polars.DataFrame, runs: polars.DataFrame) -> numpy.ndarray:
    """Return which pairs have a run with a figure, bool (P): those of diverged runs have none.

    Args:
        pairs: Columns model and recipe.
        runs: Columns model, recipe and validation.
    """
    some = set(runs.drop_nulls("validation").select("model", "recipe").rows())
    return numpy.array(
        [pair in some for pair in pairs.select("model", "recipe").rows()], dtype=bool
    )


def answer(known: polars.DataFrame, measured: numpy.ndarray, confidence: float) -> Answer:
    """Say what a posterior amounts to.

    A name is given to a pair that was run, is the best with probability `confidence`, and had a
    rival that was run: what is merely foretold is not named. Nor is a pair taken whose runs all
    diverged, though it may be in the top group.

    Args:
        known: As `posterior` returns it.
        measured: Pairs with a figure of their own, bool (P).
        confidence: Probability that a name needs.
    """
    runs, mean = known["runs"].to_numpy(), known["mean"].to_numpy()
    top = known["probability_near_best"].to_numpy() > 1 - confidence
    if not measured.any():
        return Answer(None, False, False, top)
    pick = int(numpy.where(measured, mean, -numpy.inf).argmax())
    top[pick] = True
    compared = int((runs > 0).sum()) > 1 or len(runs) == 1
    row = known.row(pick, named=True)
    return Answer(
        pick,
        compared and row["probability_best"] >= confidence,
        compared and row["probability_near_best"] >= confidence,
        top,
    )


def decide(
    options: Race,
    candidates: polars.DataFrame,
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    zoo: polars.DataFrame,
    history: polars.DataFrame,
    *,
    slots: int,
    seed: int,
) -> polars.DataFrame:
    """Choose the next runs of a race by expected gain per second, or end it.

    One after the other, as if the earlier ones had been run: the pair whose run is worth most for
    its time, by what it teaches of all pairs or by making a better pair one that can be taken.

    Args:
        options: The race's rules.
        candidates: Columns model, recipe: the pairs that race.
        runs: One row for each run of a candidate: model, recipe, seed, status, validation (a
            fraction; null if it diverged), images (count of validation images, or null), outcomes
            (List[Float64] per validation image or query, in one order for all runs, or null),
            seconds.
        scores: Rows of table `scores` of this target and shots.
        zoo: Rows of table `zoo` of the candidates' models.
        history: Table `history` of other targets; may be empty.
        slots: Most runs to choose.
        seed: Seed of whatever is drawn.
    Returns:
        One row a candidate, in the order of `candidates`, with the columns of `COLUMNS`.
    """
    earlier = earlier_targets(history) if history.height else []
    held = belief(runs, scores, zoo, earlier, candidates, seed=seed)
    known = table(held, runs, indifference=options.indifference, level=LEVEL)
    found = answer(known, measured_pairs(candidates, runs), options.confidence)
    seconds = expected_seconds(candidates, runs, zoo, earlier)
    used = _used_seeds(candidates, runs)
    free = [_free_seeds(seeds, options.seeds) for seeds in used]
    budget, spent = options.budget, float(runs["seconds"].sum() or 0.0)
    left = slots if budget.runs is None else min(slots, budget.runs - runs.height)
    stopped = None
    if found.named:
        stopped = "the best pair is known"
    elif found.settled:
        stopped = "no other pair is better by more than the indifference"
    elif left <= 0 or (budget.seconds is not None and spent >= budget.seconds):
        stopped = f"the budget of {budget.words} is spent"
    elif not any(map(len, free)):
        stopped = f"every pair has had its {options.seeds} runs"
    asked = [] if stopped else _next_runs(held, seconds, [len(one) for one in free], left)
    timed = runs["seconds"].drop_nulls().len() > 0
    return known.with_columns(
        cost=polars.Series(seconds if timed else [None] * len(seconds), dtype=polars.Float64),
        first_seed=polars.Series(
            [one[0] if one else len(seeds) for one, seeds in zip(free, used, strict=True)],
            dtype=polars.Int64,
        ),
        chosen=polars.Series([asked.count(i) for i in range(len(used))], dtype=polars.Int64),
        top=polars.Series(found.top),
        named=polars.Series([found.named and i == found.pick for i in range(len(used))]),
        stopped=polars.lit(stopped, polars.String),
    ).select(list(COLUMNS))


def _next_runs(held: Belief, seconds: numpy.ndarray, free: list[int], count: int) -> list[int]:
    """Return the pairs to run, one after the other; each no more often than it has free seeds."""
    covariance, mean = held.covariance.copy(), held.mean
    counts = held.counts.copy()
    asked: list[int] = []
    while len(asked) < min(count, sum(free)):
        allowed = numpy.array([asked.count(i) < n for i, n in enumerate(free)])
        now = held._replace(covariance=covariance, counts=counts)
        noise = run_noise(now)
        worth = run_gain(mean, covariance, noise, counts > 0) / seconds
        # Where no single run can change the choice, the least known pair's may in time.
        worth = worth + 1e-9 * numpy.sqrt(numpy.diag(covariance)) / seconds
        pair = int(numpy.where(allowed, worth, -1.0).argmax())
        covariance = observed(covariance, pair, noise[pair])
        counts[pair] += 1
        asked.append(pair)
    return asked


def _used_seeds(candidates: polars.DataFrame, runs: polars.DataFrame) -> list[set[int]]:
    used: dict[tuple[str, str], set[int]] = {}
    for model, recipe, seed in runs.select("model", "recipe", "seed").rows():
        used.setdefault((model, recipe), set()).add(seed)
    return [used.get(pair, set()) for pair in candidates.select("model", "recipe").rows()]


def _free_seeds(used: set[int], most: int) -> range:
    """Return the seeds of the next runs of a pair: one after the other, none of them used."""
    first = next(seed for seed in range(len(used) + 1) if seed not in used)
    end = min([seed for seed in used if seed > first], default=most)
    return range(first, min(end, first + max(0, most - len(used))))
