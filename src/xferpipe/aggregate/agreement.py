"""Rank agreement of a score with what fine-tuning gave, with intervals over models.

Every statistic is computed for many pairs of figures at once, a row each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from xferpipe.aggregate.intervals import (
    MINIMUM_FOR_INTERVAL,
    MINIMUM_MODELS,
    information,
    interval,
)

STATISTICS = ("spearman", "weighted_kendall", "kendall", "pearson")


@dataclass(frozen=True)
class Agreement:
    """Statistics of one score: name -> (value, low, high); null where undefined, with a reason."""

    values: dict[str, tuple[float | None, float | None, float | None]]
    reason: str | None


def agreement(score: numpy.ndarray, metric: numpy.ndarray, confidence: float) -> Agreement:
    """Compare a score with a metric over models.

    Args:
        score: float (m).
        metric: float (m).
        confidence: Level of the intervals.
    Returns:
        Each statistic with its interval: values from 3 models on, intervals from 5 on.
    """
    undefined = why_undefined(score, metric)
    if undefined:
        return Agreement(dict.fromkeys(STATISTICS, (None, None, None)), undefined)
    models, left = len(score), information(score, metric)
    values = {}
    for name in STATISTICS:
        value = float(globals()[name](score[None], metric[None])[0])
        ends = interval(name, value, models, confidence, information=left)
        values[name] = (value, *ends)
    reason = None
    if models < MINIMUM_FOR_INTERVAL:
        reason = f"{models} models; an interval needs at least {MINIMUM_FOR_INTERVAL}"
    elif values["spearman"][1] is None:
        reason = "too many ties for an interval"
    return Agreement(values, reason)


def why_undefined(score: numpy.ndarray, metric: numpy.ndarray) -> str | None:
    """Return why two figures over models (m) have no correlation; None where they have one."""
    if len(score) < MINIMUM_MODELS:
        return f"{len(score)} models; at least {MINIMUM_MODELS} are needed"
    if numpy.ptp(score) == 0:
        return "the score is the same for all models"
    if numpy.ptp(metric) == 0:
        return "the metric is the same for all models"
    return None


def pearson(x: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """Return Pearson's correlation of each row of x and y (b, m); NaN for a constant row."""
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    scale = numpy.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    # A constant row leaves rounding dust, not zero.
    dust = 1e-12 * numpy.abs(x).max(axis=1, initial=0) * numpy.abs(y).max(axis=1, initial=0)
    with numpy.errstate(invalid="ignore", divide="ignore"):
        return numpy.where(scale > dust, (x * y).sum(axis=1) / scale, numpy.nan)


def spearman(x: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """Return Spearman's correlation of each row of x and y (b, m), ties at their mean rank."""
    return pearson(mean_ranks(x), mean_ranks(y))


def mean_ranks(x: numpy.ndarray) -> numpy.ndarray:
    """Return the rank of each entry in its row (b, m), 1-based, ties at their mean."""
    from scipy.stats import rankdata

    return rankdata(x, axis=1)


def kendall(x: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """Return Kendall's tau-b of each row of x and y (b, m)."""
    return _signs_correlation(x, y, lambda block: 1.0)


def weighted_kendall(x: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """Return the weighted tau of each row of x and y (b, m).

    Pair weights are 1/(r_i + 1) + 1/(r_j + 1) with r the 0-based rank from the top, averaged over
    the two rankings (by x, ties by y; by y, ties by x).

    Source:
        Vigna, WWW 2015; the definition of `scipy.stats.weightedtau`.
    """
    first = _signs_correlation(x, y, lambda rows: _pair_weights(x[rows], y[rows]))
    second = _signs_correlation(x, y, lambda rows: _pair_weights(y[rows], x[rows]))
    return (first + second) / 2


def _pair_weights(first: numpy.ndarray, second: numpy.ndarray) -> numpy.ndarray:
    order = numpy.lexsort((second, first), axis=1)[:, ::-1]
    rank = numpy.empty_like(order)
    numpy.put_along_axis(rank, order, numpy.arange(first.shape[1])[None], axis=1)
    weight = 1 / (rank + 1.0)
    return weight[:, :, None] + weight[:, None, :]


def _signs_correlation(x: numpy.ndarray, y: numpy.ndarray, weights_of) -> numpy.ndarray:
    """Correlate the signs of all pairs' differences, block by block to bound memory."""
    b, m = x.shape
    result = numpy.empty(b)
    block = max(1, 2_000_000 // max(1, m * m))
    for start in range(0, b, block):
        rows = slice(start, start + block)
        sign_x = numpy.sign(x[rows, :, None] - x[rows, None, :])
        sign_y = numpy.sign(y[rows, :, None] - y[rows, None, :])
        weights = weights_of(rows)
        both = (sign_x * sign_y * weights).sum(axis=(1, 2))
        scale = (sign_x**2 * weights).sum(axis=(1, 2)) * (sign_y**2 * weights).sum(axis=(1, 2))
        with numpy.errstate(invalid="ignore", divide="ignore"):
            result[rows] = numpy.where(scale > 0, both / numpy.sqrt(scale), numpy.nan)
    return result
