"""LogME: the evidence of a Bayesian linear model from features to one-hot labels.

For each class, with t its one-hot column, weights of precision a and noise of precision b:

    log N(t; 0, F F^T / a + I / b) / n        in nats per image, mean over classes

at the a and b where it is largest. From the spectrum of F (squared singular values s, x = U^T t),
with r = a / b and E(r) = sum x^2 r / (r + s) + |t|^2 - |x|^2, the best b is n / E(r), which leaves

    -(log(2 pi E(r) / n) + 1 + sum log(1 + s / r) / n) / 2

to be maximised over r alone. A common scale of the features moves r with it and changes nothing.

`published` is the number that the authors' code gives: at most 11 rounds of MacKay's updates from
a = b = 1, with 1e-5 added to squared lengths whatever the features' unit. It depends on that unit.

Undefined: fewer than two images or classes, constant or not finite features.
Source: You et al., ICML 2021; the authors' code for `published`; the spectrum: arXiv 2110.10545.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import checked, one_hot
from xferpipe.scores.spectrum import spectrum_of

ROUNDS = 11
_FLOOR = 1e-5
#: Steps of r in a factor of ten, and how many such factors it goes beyond the spectrum.
_STEPS, _BEYOND = 6, 11
#: Each halving of the search between two steps leaves 0.618 of it: to 1e-9 of r.
_HALVINGS = 45
_GOLDEN = (5**0.5 - 1) / 2
#: Part of a target's squared length that features of single precision cannot explain.
_UNEXPLAINED = 1e-12


def logme(features: Any, labels: Any) -> dict[str, float]:
    """Return the logarithm of the maximum evidence.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        Log evidence in nats per image, mean over classes; under `published`, as its authors' code.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    hot = one_hot(labels)
    sigma, basis = spectrum_of(features)
    x, length = basis.T @ hot, hot.sum(axis=0)
    rest = numpy.maximum(length - (x**2).sum(axis=0), 0)
    n, d = features.shape
    published = [fixed_point(sigma, x[:, c], rest[c], n, d)[0] for c in range(len(rest))]
    return {
        "": float(maximum_evidence(sigma, x**2, length, n).mean()),
        "published": float(numpy.mean(published)),
    }


def maximum_evidence(
    sigma: numpy.ndarray, squares: numpy.ndarray, length: numpy.ndarray, n: int
) -> numpy.ndarray:
    """Return the log evidence of c targets at its maximum, in nats per image (c).

    Args:
        sigma: Squared singular values of the features (k).
        squares: Squares of the targets along their left singular vectors (k, c).
        length: Squared lengths of the targets (c).
        n: Images.
    """
    rest = numpy.zeros_like(length)
    if len(sigma) < n:
        rest = numpy.maximum(length - squares.sum(axis=0), _UNEXPLAINED * length)
    first, last = numpy.log10(sigma.min()) - _BEYOND, numpy.log10(sigma.max()) + _BEYOND
    grid = numpy.logspace(first, last, int(_STEPS * (last - first)) + 2)
    # One maximum lies between two steps at most: the widths of its terms are whole factors.
    top = _evidence(grid[:, None], sigma, squares, rest, n).argmax(axis=0)
    low = numpy.log(grid[numpy.maximum(top - 1, 0)])
    high = numpy.log(grid[numpy.minimum(top + 1, len(grid) - 1)])

    def at(place: numpy.ndarray) -> numpy.ndarray:
        return _evidence(numpy.exp(place)[None], sigma, squares, rest, n)[0]

    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    value_left, value_right = at(left), at(right)
    for _ in range(_HALVINGS):
        leftwards = value_left > value_right
        low, high = numpy.where(leftwards, low, left), numpy.where(leftwards, right, high)
        inner = numpy.where(leftwards, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        found = at(inner)
        left, right = numpy.where(leftwards, inner, right), numpy.where(leftwards, left, inner)
        value_left, value_right = (
            numpy.where(leftwards, found, value_right),
            numpy.where(leftwards, value_left, found),
        )
    return numpy.maximum(value_left, value_right)


def _evidence(
    ratio: numpy.ndarray, sigma: numpy.ndarray, squares: numpy.ndarray, rest: numpy.ndarray, n: int
) -> numpy.ndarray:
    """Return the log evidence at ratios r, one for all targets (m, 1) or one for each (m, c)."""
    rows = []
    for r in ratio:
        left_over = (r / (r + sigma[:, None]) * squares).sum(axis=0) + rest
        spread = numpy.log1p(sigma[:, None] / r).sum(axis=0) / n
        rows.append(-(numpy.log(2 * numpy.pi * left_over / n) + 1 + spread) / 2)
    return numpy.array(rows)


def fixed_point(
    sigma: numpy.ndarray, x: numpy.ndarray, rest: float, n: int, d: int
) -> tuple[float, float, float]:
    """Raise the evidence of one target by the updates of the authors' code.

    Args:
        sigma: Squared singular values of the features (k).
        x: The target along their left singular vectors (k).
        rest: Squared length of the target outside of them.
        n: Images.
        d: Features.
    Returns:
        Log evidence in nats per image; precisions a of the weights and b of the noise.
    """
    a = b = 1.0
    for _ in range(ROUNDS):
        ratio = a / b
        gamma = (sigma / (sigma + ratio)).sum()
        weights, error = _squares(sigma, x, rest, ratio)
        a = gamma / (weights + _FLOOR)
        b = (n - gamma) / (error + _FLOOR)
        if abs(a / b - ratio) <= 1e-3 * ratio:
            break
    # The density below holds for the mean weights at these a and b, not at those one round before.
    weights, error = _squares(sigma, x, rest, a / b)
    determinant = numpy.log(a + b * sigma).sum() + (d - len(sigma)) * numpy.log(a)
    logarithm = (
        d / 2 * numpy.log(a)
        + n / 2 * numpy.log(b)
        - determinant / 2
        - (b * error + a * weights) / 2
        - n / 2 * numpy.log(2 * numpy.pi)
    )
    return float(logarithm / n), float(a), float(b)


def _squares(
    sigma: numpy.ndarray, x: numpy.ndarray, rest: float, ratio: float
) -> tuple[float, float]:
    """Return the squared lengths of the mean weights and of the error they leave."""
    weights = (sigma * x**2 / (ratio + sigma) ** 2).sum()
    error = (x**2 / (1 + sigma / ratio) ** 2).sum() + rest
    return weights, error
