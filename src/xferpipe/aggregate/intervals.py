"""Intervals of correlations over few models: closed forms on Fisher's z, ties included."""

from __future__ import annotations

from statistics import NormalDist

import numpy

#: Models below which a correlation says nothing, and below which it has no interval.
MINIMUM_MODELS, MINIMUM_FOR_INTERVAL = 3, 5


def interval(
    statistic: str,
    value: float,
    models: float,
    confidence: float,
    *,
    information: float = 1.0,
    scale: float = 1.0,
) -> tuple[float | None, float | None]:
    """Return the interval of a correlation over models.

    The value is taken no nearer to 1 than an order with its last two models swapped, so that a
    perfect order has an interval with width; the value itself always lies within. Standard errors
    of Fisher's z: sqrt((1 + r^2 / 2) / (n - 3)) for Spearman, 1 / sqrt(n - 3) for Pearson,
    sqrt(0.437 / (n - 4)) for Kendall. Weighted Kendall counts the models that its weights leave
    (Kish), with 0.55 in place of 0.437; both 0.55 and what ties cost it come from simulation.

    Args:
        statistic: spearman, kendall, weighted_kendall or pearson.
        value: The correlation.
        models: Models behind it.
        confidence: Level of the interval.
        information: What ties leave of the models, a fraction: see `information`.
        scale: Factor on the variance, where the value is a mean of several correlations.
    Returns:
        Lower and upper end; null below 5 models, and where ties leave no more than 4.
    Source:
        Bonett and Wright, Psychometrika 65, 2000; Fieller, Hartley and Pearson, Biometrika 44,
        1957.
    """
    # Pearson's correlation counts distances: a tie costs it nothing.
    left = models if statistic == "pearson" else models * information
    if models < MINIMUM_FOR_INTERVAL or left <= 4:
        return None, None
    pairs = models * (models - 1)
    step = 4 / pairs if "kendall" in statistic else 12 / (pairs * (models + 1))
    r = min(max(value, step - 1), 1 - step)
    if statistic == "weighted_kendall":
        left = _kish(round(models)) * information**1.5
        variance = 0.55 / (left - 4) if left > 4 else numpy.inf
    elif statistic == "kendall":
        variance = 0.437 / (left - 4)
    else:
        variance = (1 + (r**2 / 2 if statistic == "spearman" else 0)) / (left - 3)
    width = NormalDist().inv_cdf((1 + confidence) / 2) * numpy.sqrt(scale * variance)
    z = numpy.arctanh(r)
    low, high = numpy.tanh(z - width), numpy.tanh(z + width)
    return min(float(low), value), max(float(high), value)


def information(*figures: numpy.ndarray) -> float:
    """Return what ties leave of the models: the product of the ranks' variances over their largest.

    Args:
        figures: Any number of float (m).
    Returns:
        A fraction; 1 without ties.
    """
    left = 1.0
    for figure in figures:
        ties = numpy.unique(figure, return_counts=True)[1].astype(float)
        m = len(figure)
        left *= 1 - (ties**3 - ties).sum() / (m**3 - m)
    return left


def _kish(models: int) -> float:
    """Return how many equally weighted models the weights of the weighted tau are worth."""
    weight = 1 / numpy.arange(1, models + 1)
    # A model counts in its pairs with all others, by its own weight and theirs.
    total = (models - 2) * weight + weight.sum()
    return float(total.sum() ** 2 / (total**2).sum())
