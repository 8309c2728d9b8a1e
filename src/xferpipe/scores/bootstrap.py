"""Intervals of a score over probe images, from cached features: no image passes a model again."""

from __future__ import annotations

import numpy

from xferpipe.scores.inputs import Inputs, Undefined
from xferpipe.scores.registry import Score, arguments_of
from xferpipe.seeding import numpy_generator


def counts_of(labels: numpy.ndarray, draws: int, seed: int) -> numpy.ndarray:
    """Draw images with replacement within each class, which is how the probe was drawn.

    Args:
        labels: Class labels (n).
        draws: Number of draws b.
        seed: Seed of the study; every model of a target gets the same draws.
    Returns:
        How often each draw holds each image, int64 (b, n).
    """
    generator = numpy_generator(seed, "scores", "bootstrap")
    counts = numpy.zeros((draws, len(labels)), dtype=numpy.int64)
    for label in numpy.unique(labels):
        rows = numpy.flatnonzero(labels == label)
        counts[:, rows] = generator.multinomial(len(rows), [1 / len(rows)] * len(rows), size=draws)
    return counts


def interval(
    value: float, draws: numpy.ndarray, confidence: float
) -> tuple[float | None, float | None]:
    """Lay the spread of the draws around the value.

    A draw holds copies, which lifts a score that fits the images it is measured on (LEEP). The
    spread of the draws is kept and their common shift removed.

    Args:
        value: The score of all images.
        draws: The score of every draw (b); NaN where it is undefined.
        confidence: Level of the interval.
    Returns:
        Its ends; null for fewer than ten defined draws.
    """
    draws = draws[numpy.isfinite(draws)]
    if draws.size < 10:
        return None, None
    tail = (1 - confidence) / 2
    low, high = numpy.quantile(draws, [tail, 1 - tail]) - draws.mean() + value
    return float(min(low, value)), float(max(high, value))


def drawn(
    score: Score, draws: Score | None, inputs: Inputs, counts: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    """Compute a score for every bootstrap draw.

    Args:
        score: The score.
        draws: Its function of all draws at once, or None to recompute it draw by draw.
        inputs: What it reads.
        counts: How often each draw holds each image (b, n).
    Returns:
        Values by variant (b); NaN where a draw leaves the score undefined.
    """
    if draws is not None:
        needed, optional = arguments_of(draws)
        names = [name for name in needed + optional if name != "counts"]
        values = draws(counts=counts, **{name: getattr(inputs, name) for name in names})
        return values if isinstance(values, dict) else {"": values}
    needed, optional = arguments_of(score)
    result: dict[str, numpy.ndarray] = {}
    for draw, weights in enumerate(counts):
        part = inputs.take(numpy.repeat(numpy.arange(weights.size), weights))
        try:
            value = score(**{name: getattr(part, name) for name in needed + optional})
        except Undefined:
            continue
        for variant, number in (value if isinstance(value, dict) else {"": value}).items():
            if not isinstance(number, Undefined):
                result.setdefault(variant, numpy.full(len(counts), numpy.nan))[draw] = number
    return result
