"""How traces are judged: cost to come near the best, regret at a cost, and what was claimed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
from scipy.stats import t as student

from xferpipe.evidence.observations import fraction
from xferpipe.evidence.posterior import Belief, table
from xferpipe.evidence.race import LEVEL

from .strategies import INDIFFERENCE, Trace
from .tables import BruteForced

#: Shares of brute force's cost at which regret is read.
SHARES = (0.1, 0.25, 0.5, 1.0)
#: Edges of the bins of a stated probability.
BINS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0 + 1e-9)


def gaps(target: BruteForced, against: str) -> numpy.ndarray:
    """Return how far each pair is below the best on test images, fractions (P).

    Args:
        target: What was run.
        against: "best": the highest mean test figure, which is in part luck of the test images and
            cannot be known beforehand; "brute_force": the pair that brute force takes. Better
            pairs than that have gaps below 0.
    """
    best = target.test.max() if against == "best" else target.test[target.found_by_brute_force]
    return best - target.test


def judged(trace: Trace, target: BruteForced, against: str) -> dict[str, float]:
    """Judge one trace.

    Returns:
        `within` and `within_for_good`: share of brute force's cost at which the pick first is, and
        from which on it stays, within the indifference of the best; infinite where never.
        `regret_<percent>`: regret at that share of the cost; before the first pick that of a pair
        taken at random. `cost`: share of the cost at the end.
    """
    gap = gaps(target, against)
    near = gap[trace.pick] <= INDIFFERENCE + 1e-12
    share = trace.seconds / target.cost
    away = numpy.flatnonzero(~near)
    settled = away[-1] + 1 if len(away) else 0
    result = {
        "within": float(share[near.argmax()]) if near.any() else math.inf,
        "within_for_good": float(share[settled]) if settled < len(near) else math.inf,
        "cost": float(share[-1]),
    }
    for part in SHARES:
        result[f"regret_{part:.0%}"] = regret_at(trace, target, part * target.cost, gap)
    return result


def regret_at(trace: Trace, target: BruteForced, seconds: float, gap: numpy.ndarray) -> float:
    """Return the gap of the pick after so many seconds; without one, that of a random pair."""
    pick = trace.at(seconds)
    return float(gap.mean() if pick is None else gap[pick])


def clustered(values: Sequence[float], clusters: Sequence[Any]) -> dict[str, float] | None:
    """Return a mean with its 95 % interval, where values of one cluster are not independent.

    Returns:
        mean, low, high; the interval is null below two clusters, and where all values are alike:
        what never happened in a few targets is not impossible. None without values.

    Source:
        Cameron and Miller, A Practitioner's Guide to Cluster-Robust Inference, 2015: the sandwich
        variance with k / (k - 1), and Student's t with k - 1 degrees of freedom.
    """
    values = numpy.asarray(values, float)
    if not len(values):
        return None
    mean = float(values.mean())
    names, place = numpy.unique(numpy.asarray(clusters).astype(str), return_inverse=True)
    k = len(names)
    if k < 2 or numpy.ptp(values) == 0:
        return {"mean": mean, "low": None, "high": None}
    sums = numpy.bincount(place, weights=values - mean, minlength=k)
    error = math.sqrt(k / (k - 1) * float(sums @ sums)) / len(values)
    reach = float(student.ppf(0.975, k - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def claims(held: Belief, target: BruteForced, pick: int, seen: Any, seed: int) -> dict[str, float]:
    """Hold what a belief claims of a target against its test figures.

    A mean test figure differs from the figure of the pair by the noise of the test images and of
    its seeds. `foretold` claims are of the test figures: this noise is added to every draw. It is
    added in full, though the runs whose validation was seen are among those tested, so intervals
    are a little too wide rather than too narrow.

    Returns:
        Fractions or 0 and 1: of the pick `probability_best` and `probability_near_best`, as
        claimed and as foretold, and whether it `is_best` and `is_near_best` on test images;
        `covered_pick`, `covered_all` of intervals as claimed, and `foretold_covered_*`.
    """
    known = table(held, seen, indifference=INDIFFERENCE, level=LEVEL)
    generator = numpy.random.default_rng(seed)
    pairs, seeds = target.validation.shape
    noise = target.test_noise + numpy.diag(held.seed_variance / seeds)
    angles = 2 * numpy.arcsin(numpy.sqrt(held.draws))
    angles = angles + generator.multivariate_normal(numpy.zeros(pairs), noise, len(angles))
    shown = fraction(angles)
    tail = (1 - LEVEL) / 2
    low, high = numpy.quantile(shown, [tail, 1 - tail], axis=0)
    inside = (known["low"].to_numpy() <= target.test) & (target.test <= known["high"].to_numpy())
    foretold = (low <= target.test) & (target.test <= high)
    best = target.test.max()
    return {
        "probability_best": known["probability_best"][pick],
        "probability_near_best": known["probability_near_best"][pick],
        "foretold_best": float((shown.argmax(axis=1) == pick).mean()),
        "foretold_near_best": float((shown[:, pick] >= shown.max(axis=1) - INDIFFERENCE).mean()),
        "is_best": float(target.test[pick] >= best),
        "is_near_best": float(target.test[pick] >= best - INDIFFERENCE - 1e-12),
        "covered_pick": float(inside[pick]),
        "covered_all": float(inside.mean()),
        "foretold_covered_pick": float(foretold[pick]),
        "foretold_covered_all": float(foretold.mean()),
    }


def reliability(
    stated: Sequence[float], true: Sequence[float], clusters: Sequence[Any]
) -> list[dict[str, Any]]:
    """Return, for each bin of a stated probability, how often it came true, clustered."""
    stated, true = numpy.asarray(stated, float), numpy.asarray(true, float)
    clusters = numpy.asarray(clusters)
    place = numpy.digitize(stated, BINS) - 1
    return [
        {
            "from": BINS[i],
            "answers": int((place == i).sum()),
            "stated": float(stated[place == i].mean()),
            "came_true": clustered(true[place == i], clusters[place == i]),
        }
        for i in numpy.unique(place)
    ]
