"""Ways to spend fine-tuning time on one target, and the pick each has after every run.

The plain ways take the pair with the highest mean validation figure of those that were run. The
races and top-two sampling take the highest posterior mean of those that were run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy
import polars
from scipy.stats import rankdata

from xferpipe.config.race import Budget, Race
from xferpipe.evidence.posterior import belief, table
from xferpipe.evidence.race import LEVEL, answer, measured_pairs
from xferpipe.seeding import stream

from .rounds import Round, rounds
from .tables import BruteForced

INDIFFERENCE, CONFIDENCE = 0.01, 0.9
#: Scores that "top 3" may go by, the first that a table has.
TOP_SCORES = ("lfc", "logme")
TOP = 3


class Trace(NamedTuple):
    """What a strategy would take, and from when on.

    Attributes:
        seconds: Fine-tuning seconds spent when each pick was known, rising, float64 (k).
        pick: Index of the pair, int64 (k).
    """

    seconds: numpy.ndarray
    pick: numpy.ndarray

    def at(self, seconds: float) -> int | None:
        """Return the pick that is known after so many seconds, or None where there is none yet."""
        known = int(numpy.searchsorted(self.seconds, seconds * (1 + 1e-9), side="right"))
        return int(self.pick[known - 1]) if known else None


def by_validation(target: BruteForced, order: Iterable[tuple[int, int]]) -> Trace:
    """Run (pair, seed) one after the other; take the highest mean validation figure so far."""
    total, count = numpy.zeros(len(target.pairs)), numpy.zeros(len(target.pairs))
    spent, seconds, picks = 0.0, [], []
    for pair, seed in order:
        total[pair] += target.validation[pair, seed]
        count[pair] += 1
        spent += target.seconds[pair, seed]
        seconds.append(spent)
        # Rounded: equal means that were added up in another order are ties, and the first wins.
        mean = numpy.round(total / numpy.maximum(count, 1), 9)
        picks.append(int(numpy.where(count > 0, mean, -1).argmax()))
    return Trace(numpy.array(seconds), numpy.array(picks))


def brute_force(target: BruteForced, generator: numpy.random.Generator) -> Trace:
    """Run everything; there is no pick before the end."""
    return Trace(numpy.array([target.cost]), numpy.array([target.found_by_brute_force]))


def random_order(target: BruteForced, generator: numpy.random.Generator) -> Trace:
    """Run everything in a random order."""
    pairs, seeds = target.validation.shape
    runs = generator.permutation(pairs * seeds)
    return by_validation(target, ((run // seeds, run % seeds) for run in runs))


def top_by_score(target: BruteForced, generator: numpy.random.Generator) -> Trace | None:
    """Run the three models with the highest score, each recipe once, and stop.

    Returns:
        None where the table has no score for all models.
    """
    models = target.pairs["model"].unique(maintain_order=True).to_list()
    for method in TOP_SCORES:
        rows = target.scores.filter(polars.col("method") == method)
        value = dict(rows.select("model", "value").rows())
        if all(model in value for model in models):
            break
    else:
        return None
    top = sorted(models, key=lambda model: -value[model])[:TOP]
    of_model = target.pairs["model"].to_list()
    return by_validation(
        target, [(i, 0) for model in top for i, name in enumerate(of_model) if name == model]
    )


def static_list(target: BruteForced, generator: numpy.random.Generator) -> Trace:
    """Run pairs by their mean rank on other image sources: all once, then all again.

    Ranks are by mean validation figure; targets of a source are averaged, then sources. A pair that
    no other source has comes last.
    """
    ranks: dict[tuple[str, str], dict[str, list[float]]] = {}
    runs = target.history.filter(polars.col("kind") == "run")
    means = runs.group_by(
        "source", "study", "target", "shots", "model", "name", maintain_order=True
    ).agg(polars.col("value").mean())
    for (source, *_), rows in means.group_by(
        "source", "study", "target", "shots", maintain_order=True
    ):
        # Fractions of the list, so that lists of several lengths compare.
        rank = rankdata(-rows["value"].to_numpy()) / rows.height
        for pair, one in zip(rows.select("model", "name").rows(), rank, strict=True):
            ranks.setdefault(pair, {}).setdefault(source, []).append(float(one))
    place = numpy.array(
        [
            numpy.mean([numpy.mean(one) for one in ranks[pair].values()]) if pair in ranks else 2.0
            for pair in target.pairs.select("model", "recipe").rows()
        ]
    )
    order = numpy.argsort(place, kind="stable")
    return by_validation(target, ((i, s) for s in range(target.validation.shape[1]) for i in order))


def successive_halving(target: BruteForced, generator: numpy.random.Generator) -> Trace:
    """Run all pairs once, the better half once more, the better half of these once more ...

    A table of finished runs has no smaller unit than a seed, so the first rung is a whole run of
    every pair, in random order.
    """
    pairs, seeds = target.validation.shape
    alive, order = generator.permutation(pairs), []
    for seed in range(seeds):
        order += [(pair, seed) for pair in alive]
        mean = target.validation[alive, : seed + 1].mean(axis=1)
        alive = alive[numpy.argsort(-mean, kind="stable")[: -(-len(alive) // 2)]]
    return by_validation(target, order)


def top_two_sampling(target: BruteForced, generator: numpy.random.Generator) -> Trace:
    """Run the best pair of a draw from the posterior, or, every other time, the best of another.

    The posterior knows this target's scores, no earlier target and no costs; the race's own rule
    ends it. A pair without a further seed gives way to the next best of its draw.

    Source:
        Russo, Simple Bayesian Algorithms for Best-Arm Identification, 2020, with beta = 1/2.
    """
    pairs, seeds = target.validation.shape
    count, asked = numpy.zeros(pairs, int), []
    spent, seconds, picks = 0.0, [], []
    for number in range(pairs * seeds + 1):
        runs = target.runs[asked]
        held = belief(
            runs,
            target.scores,
            target.zoo,
            [],
            target.pairs,
            seed=stream(0, target.name, number),
        )
        known = table(held, runs, indifference=INDIFFERENCE, level=LEVEL)
        found = answer(known, measured_pairs(target.pairs, runs), CONFIDENCE)
        if asked:
            seconds.append(spent)
            picks.append(found.pick)
        if found.named or found.settled or len(asked) == pairs * seeds:
            break
        free = numpy.where(count < seeds, 0.0, -numpy.inf)
        draws = generator.permutation(held.draws) + free
        first = draws.argmax(axis=1)
        pair = first[0]
        others = first[first != pair]
        if generator.random() < 0.5 and len(others):
            pair = others[0]
        asked.append(int(pair) * seeds + int(count[pair]))
        spent += target.seconds[pair, count[pair]]
        count[pair] += 1
    return Trace(numpy.array(seconds), numpy.array(picks))


def race(target: BruteForced, *, history: bool = True, slots: int = 1) -> list[Round]:
    """Run the race of `xferpipe.evidence.race` to its own end.

    Args:
        target: What races.
        history: Whether it knows the other image sources.
        slots: Runs of a round.
    """
    rules = Race(
        budget=Budget(runs=target.validation.size),
        confidence=CONFIDENCE,
        indifference=INDIFFERENCE,
        seeds=target.validation.shape[1],
    )
    past = target.history if history else target.history.clear()
    return list(
        rounds(
            rules,
            target.pairs,
            target.runs,
            target.scores,
            target.zoo,
            past,
            slots=slots,
            seed=stream(0, target.name),
        )
    )


def trace_of(played: list[Round]) -> Trace:
    """Return the picks of a race after each of its rounds."""
    known = [one for one in played if one.pick is not None]
    return Trace(
        numpy.array([one.seen["seconds"].sum() for one in known]),
        numpy.array([one.pick for one in known]),
    )


Strategy = Callable[[BruteForced, numpy.random.Generator], Trace | None]
#: Strategies that cost nothing to replay and are replayed with many orders of seeds.
PLAIN: dict[str, Strategy] = {
    "brute force": brute_force,
    "random order": random_order,
    "top 3 by LFC": top_by_score,
    "static list": static_list,
    "successive halving": successive_halving,
}
