"""The noise ceiling: how well a perfect score could agree with fine-tunes that have noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy
import polars

from xferpipe.aggregate import agreement as statistics
from xferpipe.aggregate.agreement import STATISTICS, why_undefined
from xferpipe.aggregate.intervals import MINIMUM_FOR_INTERVAL, information, interval


@dataclass(frozen=True)
class Repeats:
    """Repeated runs of some models.

    Attributes:
        figures: float (models, runs): as many runs of each as the one that was repeated least.
        runs: Harmonic mean of the runs behind a figure, over all models, the unrepeated included.
    """

    figures: numpy.ndarray
    runs: float


def noise_ceiling(runs: polars.DataFrame, confidence: float) -> dict[str, Any] | None:
    """Estimate what a score that knew each model's true figure would agree with these runs by.

    The agreement of one run of each model with another (mean over pairs) is the reliability r of
    one run; that of the mean of k runs is k r / (1 + (k - 1) r) (Spearman, Brown), and the root of
    it the correlation with the truth. The formulas hold for Pearson's correlation; the others are
    taken there and back through what they are on average for normal figures.

    Args:
        runs: model, seed and value of one target, shots, recipe and metric.
        confidence: Level of the intervals.
    Returns:
        Columns of table `selection`, null with a reason where the interval of r covers 0; None
        where no model was run twice.
    """
    found = _repeats(runs)
    if found is None:
        return None
    models, repeated = found.figures.shape
    row: dict[str, Any] = {"models": models}
    if models < MINIMUM_FOR_INTERVAL:
        return row | {
            "reason": f"not estimable: {models} models with two runs or more; at least "
            f"{MINIMUM_FOR_INTERVAL} are needed"
        }
    pairs = [found.figures.T[list(pair)] for pair in combinations(range(repeated), 2)]
    for one, other in pairs:
        if why_undefined(one, other):
            return row | {"reason": "not estimable: the metric is the same for all models"}
    left = float(numpy.mean([information(*pair) for pair in pairs]))
    for name in STATISTICS:
        first, second = (numpy.stack([pair[i] for pair in pairs]) for i in range(2))
        r = float(getattr(statistics, name)(first, second).mean())
        # Variance of a mean over all pairs of k runs, against that of one pair (Fisher, 1925).
        scale = 2 * (1 + (repeated - 1) * r) ** 2 / (repeated * (repeated - 1) * (1 + r) ** 2)
        low, high = interval(
            name, r, models, confidence, information=left, scale=max(scale, 1 / len(pairs))
        )
        if name == "spearman":
            row["reliability"] = r
        if low is None or high is None or low <= 0:
            row |= dict.fromkeys((name, f"{name}_low", f"{name}_high"))
            continue
        ends = (r, low, high)
        row[name], row[f"{name}_low"], row[f"{name}_high"] = (
            _ceiling(name, end, models, found.runs) for end in ends
        )
    if row["spearman"] is None:
        row["reason"] = "not estimable: the agreement of repeated runs may be none"
    return row


def _repeats(runs: polars.DataFrame) -> Repeats | None:
    values = runs.sort("model", "seed").group_by("model", maintain_order=True).agg("value")["value"]
    counts = values.list.len().to_numpy()
    if not counts.size or counts.max() < 2:
        return None
    fewest = int(counts[counts > 1].min())
    figures = [own[:fewest] for own in values.to_list() if len(own) > 1]
    return Repeats(numpy.array(figures), float(len(counts) / (1 / counts).sum()))


def _ceiling(name: str, reliability: float, models: int, runs: float) -> float:
    r = to_pearson(name, reliability, models)
    return from_pearson(name, numpy.sqrt(runs * r / (1 + (runs - 1) * r)), models)


def from_pearson(name: str, r: float, models: int) -> float:
    """Return what a statistic is on average over so many models whose figures correlate by r.

    Args:
        name: Statistic; the weighted tau is taken for Kendall's.
        r: Pearson's correlation of two normal figures.
        models: Models.
    Source:
        Moran, Biometrika 35, 1948 (Spearman); Kendall, Rank Correlation Methods, chapter 9.
    """
    if name == "pearson":
        return float(r)
    tau = 2 / numpy.pi * numpy.arcsin(r)
    if name == "spearman":
        large = 6 / numpy.pi * numpy.arcsin(r / 2)
        return float(((models - 2) * large + 3 * tau) / (models + 1))
    return float(tau)


def to_pearson(name: str, value: float, models: int) -> float:
    """Return the inverse of `from_pearson` for values in 0..1."""
    from scipy.optimize import brentq

    if value <= 0:
        return 0.0
    if value >= 1:
        return 1.0
    return float(brentq(lambda r: from_pearson(name, r, models) - value, 0.0, 1.0))
