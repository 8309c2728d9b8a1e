"""A probe's figure with its interval: what one row of the `minimisers` table says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from xferpipe.minimisers.probe_images import Outcomes


@dataclass(frozen=True)
class Reading:
    """One figure of one probe at one intensity.

    Attributes:
        probe: clean, noise, mask, fgsm or energy.
        intensity: Pixels' deviation, side, step or sigma; 0 for clean.
        measure: accuracy or error (fraction), or loss (nats).
        value: Mean over repeats, or over images where nothing is drawn.
        low: Lower end of the interval; None with a single repeat.
        high: Upper end.
        interval: What the interval is over: repeats or images.
        repeats: Draws behind the figure.
        images: Images behind the figure.
        refreshed: Batch-norm statistics were recomputed.
    """

    probe: str
    intensity: float
    measure: str
    value: float
    low: float | None
    high: float | None
    interval: str
    repeats: int
    images: int
    refreshed: bool = False


def mean_interval(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """Return the mean of at least two values and the ends of its Student t interval."""
    from scipy.special import stdtrit

    values = numpy.asarray(values, dtype=numpy.float64)
    half = values.std(ddof=1) / math.sqrt(len(values))
    half *= stdtrit(len(values) - 1, (1 + confidence) / 2)
    mean = values.mean()
    return float(mean), float(mean - half), float(mean + half)


def wilson_interval(hits: int, total: int, confidence: float) -> tuple[float, float, float]:
    """Return a fraction and the ends of its Wilson score interval.

    Source:
        Wilson, Journal of the American Statistical Association 22, 1927.
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    fraction = hits / total
    centre = (fraction + z * z / (2 * total)) / (1 + z * z / total)
    spread = fraction * (1 - fraction) / total + z * z / (4 * total * total)
    half = z / (1 + z * z / total) * math.sqrt(spread)
    # Exact at the ends, where rounding would leave the fraction outside its own interval.
    return fraction, min(centre - half, fraction), max(centre + half, fraction)


def over_repeats(
    probe: str,
    intensity: float,
    measure: str,
    values: Sequence[float],
    *,
    images: int,
    confidence: float,
    refreshed: bool = False,
) -> Reading:
    """Summarise the same images under several draws."""
    if len(values) > 1:
        mean, low, high = mean_interval(values, confidence)
        if measure == "accuracy":
            low, high = max(low, 0.0), min(high, 1.0)  # a fraction cannot lie beyond
    else:
        mean, low, high = float(values[0]), None, None
    return Reading(
        probe, intensity, measure, mean, low, high, "repeats", len(values), images, refreshed
    )


def over_images(
    probe: str, intensity: float, outcomes: Outcomes, *, confidence: float
) -> list[Reading]:
    """Summarise a probe that draws nothing: its interval is over the images."""
    n = len(outcomes.correct)
    accuracy = wilson_interval(int(outcomes.correct.sum()), n, confidence)
    loss = (
        mean_interval(outcomes.loss.numpy(), confidence)
        if n > 1
        else (outcomes.mean_loss, None, None)
    )
    return [
        Reading(probe, intensity, "accuracy", *accuracy, "images", 1, n),
        Reading(probe, intensity, "loss", *loss, "images", 1, n),
    ]
