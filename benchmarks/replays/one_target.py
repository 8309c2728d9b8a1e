"""All strategies on one target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy

from xferpipe.evidence.history import earlier_targets
from xferpipe.evidence.posterior import belief
from xferpipe.seeding import numpy_generator

from .measures import claims, gaps, judged, regret_at
from .rounds import Round
from .strategies import PLAIN, Trace, race, top_two_sampling, trace_of
from .tables import BruteForced

#: What picks are judged against, see `measures.gaps`.
AGAINST = ("best", "brute_force")
#: Shares of brute force's cost after which a race's claims are looked at, beside its end.
LOOKS = (0.05, 0.1, 0.25)
OURS, BATCH, BLIND = "race", "race, 2 runs a round", "race without history"


class Effort(NamedTuple):
    """How often a target is replayed.

    Attributes:
        orders: Replays of strategies that cost nothing.
        races: Replays of races and top-two sampling, each with the seeds in another order.
    """

    orders: int
    races: int


def replayed(target: BruteForced, effort: Effort, seed: int) -> dict[str, Any]:
    """Replay all strategies on one target.

    Returns:
        target, source, pairs, seconds (of brute force), scoring_seconds; strategies: name ->
        figures over replays; against_top; claims: what races said, one row a look.
    """
    traces: dict[str, list[Trace]] = {}
    for number in range(effort.orders):
        generator = numpy_generator(seed, target.name, "order", number)
        shuffled = target.reordered(generator)
        for name, strategy in PLAIN.items():
            if (trace := strategy(shuffled, generator)) is not None:
                traces.setdefault(name, []).append(trace)
    looks: list[dict[str, Any]] = []
    for number in range(effort.races):
        generator = numpy_generator(seed, target.name, "race", number)
        shuffled = target.reordered(generator)
        traces.setdefault("top-two sampling", []).append(top_two_sampling(shuffled, generator))
        traces.setdefault(BLIND, []).append(trace_of(race(shuffled, history=False)))
        traces.setdefault(BATCH, []).append(trace_of(race(shuffled, slots=2)))
        played = race(shuffled)
        traces.setdefault(OURS, []).append(trace_of(played))
        looks += _looked(shuffled, played, seed)
    return {
        "target": target.name,
        "source": target.source,
        "pairs": len(target.pairs),
        "seconds": target.cost,
        "scoring_seconds": target.scoring_seconds,
        "strategies": {
            name: {
                against: _means([judged(trace, target, against) for trace in found])
                for against in AGAINST
            }
            for name, found in traces.items()
        },
        "against_top": _against_top(traces, target),
        "claims": looks,
    }


def _looked(target: BruteForced, played: list[Round], seed: int) -> list[dict[str, Any]]:
    """Hold the claims of a race against the test figures, at its end and at some costs."""
    earlier = earlier_targets(target.history)
    moments = {"end": played[-1]}
    for share in LOOKS:
        reached = [one for one in played if one.seen["seconds"].sum() >= share * target.cost]
        if reached:
            moments[f"{share:.0%}"] = reached[0]
    rows = []
    for when, one in moments.items():
        held = belief(one.seen, target.scores, target.zoo, earlier, target.pairs, seed=seed)
        row = claims(held, target, one.pick, one.seen, seed)
        named = bool(one.decided["named"].any())
        rows.append({"when": when, "named": named, "target": target.name, **row})
    return rows


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return means over replays; of costs the median, as some are never."""
    return {
        name: float(
            (numpy.median if name.startswith("within") else numpy.mean)([row[name] for row in rows])
        )
        for name in rows[0]
    }


def _against_top(traces: dict[str, list[Trace]], target: BruteForced) -> dict[str, float] | None:
    """Return regrets of the race less those of the top 3 by score, at the cost of the latter."""
    top = traces.get("top 3 by LFC")
    if top is None:
        return None
    gap = gaps(target, "best")
    spent = [float(trace.seconds[-1]) for trace in top]
    theirs = numpy.mean([gap[trace.pick[-1]] for trace in top])
    return {
        "cost": float(numpy.mean(spent)) / target.cost,
        "top": float(theirs),
        **{
            name: float(
                numpy.mean([regret_at(t, target, numpy.mean(spent), gap) for t in traces[name]])
            )
            for name in (OURS, BATCH)
        },
    }
