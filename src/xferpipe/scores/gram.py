"""What LFC and LGC share: statistics of a Gram matrix against label agreement."""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import Undefined, matrix, one_hot
from xferpipe.scores.memory import require_memory


def label_sum(features: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return the sum of F F^T times label agreement, 1 for equal labels and -1 for others.

    Args:
        features: float64 (n, d).
        labels: Dense labels (n).
    Returns:
        2 sum_c |s_c|^2 - |s|^2 with s_c the sum of class c and s that of all; the mean feature is
        multiplied out, since its square is mostly many times as large.
    """
    mean = features.mean(axis=0)
    hot = one_hot(labels)
    counts = hot.sum(axis=0)
    sums = hot.T @ (features - mean)
    whole = sums.sum(axis=0)
    own = 2 * (sums**2).sum() - (whole**2).sum()
    along = 4 * (counts @ (sums @ mean)) - 2 * len(features) * (whole @ mean)
    # Of classes of n / 2 images each, this is 0, and not a difference of large numbers.
    pairs = 2 * (counts**2).sum() - len(features) ** 2
    return float(own + along + pairs * (mean @ mean))


def square(gram: Any, n: int, name: str) -> numpy.ndarray:
    """Return a Gram matrix as float64 (n, n), or two of them as (2, n, n).

    Raises:
        ValueError: It has another shape.
        Undefined: It holds NaN or infinities.
    """
    halves = numpy.asarray(gram)
    if halves.ndim == 3 and len(halves) == 2:
        return numpy.stack([square(half, n, name) for half in halves])
    gram = matrix(gram, name)
    if gram.shape != (n, n):
        raise ValueError(
            f"Gram matrix {name} has shape {gram.shape}; {n} labels want ({n}, {n}), or "
            f"(2, {n}, {n}) from two independent sketches"
        )
    return gram


def defined_correlation(gram: numpy.ndarray, labels: numpy.ndarray) -> float | Undefined:
    """Correlate a Gram matrix, or a pair as `correlation_draws`, with label agreement.

    Returns:
        The correlation, or why it is undefined.
    """
    value = correlation_draws(gram, labels, numpy.ones((1, len(labels))))[0]
    if numpy.isfinite(value):
        return float(value)
    if gram.ndim == 3:
        return Undefined("projection noise hides how gradients differ; project to more dimensions")
    return Undefined("the Gram matrix is constant")


def correlation_draws(
    gram: numpy.ndarray, labels: numpy.ndarray, counts: numpy.ndarray, *, centered: bool = False
) -> numpy.ndarray:
    """Correlate a Gram matrix with label agreement, for weighted images.

    A bootstrap draw is a vector of counts w: every sum over its images is a sum over the first
    ones with weights, so b draws cost a few products (b, n) x (n, n) and no new Gram matrix.

    The norm of a noisy Gram matrix holds the noise's own square. Two estimates of one matrix whose
    noise is independent give the norm without it: the square root of their inner product.

    Args:
        gram: float64 (n, n); or two independent unbiased estimates of one (2, n, n).
        labels: Dense labels (n).
        counts: How often each draw holds each image (b, n).
        centered: Centre each draw's Gram matrix on the draw's own mean (of one matrix alone).
    Returns:
        Pearson correlation over all pairs of each draw (b); NaN where it is undefined.
    """
    # The matrix, less its mean, times label agreement, and squared.
    require_memory(8 * len(labels) ** 2 * 4, f"draws from {len(labels):,} images")
    # A constant added to all entries changes no correlation; their mean would only cost digits.
    pair = [half - half.mean() for half in (gram if gram.ndim == 3 else [gram])]
    level, gram = (gram**2).mean(), sum(pair) / len(pair)
    hot = one_hot(labels)
    weights = counts.astype(numpy.float64)
    total = weights.sum(axis=1)
    class_totals = weights @ hot
    products = weights @ gram
    whole = (products * weights).sum(axis=1)
    wholes = [((weights @ half) * weights).sum(axis=1) for half in pair[:-1]]
    wholes.append(2 * whole - wholes[0] if wholes else whole)
    within = ((weights @ (gram * (hot @ hot.T))) * weights).sum(axis=1)
    squares = ((weights @ (pair[0] * pair[-1])) * weights).sum(axis=1)
    if centered:
        means = products / total[:, None]
        mean = whole / total**2
        within = (
            within
            - 2 * (class_totals * ((weights * means) @ hot)).sum(axis=1)
            + (class_totals**2).sum(axis=1) * mean
        )
        squares = squares - 2 * total * (weights * means**2).sum(axis=1) + total**2 * mean**2
        whole = wholes[0] = numpy.zeros_like(whole)
    pairs = (class_totals**2).sum(axis=1)
    numerator = within - whole * pairs / total**2
    spread = squares - wholes[0] * wholes[-1] / total**2
    variance = spread * (pairs - pairs**2 / total**2)
    # Products of equal images differ by rounding: that is no spread.
    defined = (spread > 1e-24 * level * total**2) & (variance > 0)
    with numpy.errstate(invalid="ignore", divide="ignore"):
        return numpy.where(defined, numerator / numpy.sqrt(variance), numpy.nan)
