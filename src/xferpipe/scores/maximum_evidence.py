"""LogME: the evidence of a Bayesian linear model from features to one-hot labels.

For each class, with t its one-hot column, weights of precision a and noise of precision b:

    log N(t; 0, F F^T / a + I / b) / n        in nats per image, mean over classes

a and b are found by the fixed point of MacKay's updates from the spectrum of F (squared singular
values sigma, x = U^T t), until a / b moves by less than 1e-3 of itself or for 11 rounds. The log
determinant counts all d directions, those beyond the rank of F too.

Undefined: fewer than two images or classes, constant or not finite features.
Source: You et al., ICML 2021; the updates of its authors' code (arXiv 2110.10545 for the spectrum).
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import checked, one_hot
from xferpipe.scores.spectrum import spectrum_of

ROUNDS = 11
_FLOOR = 1e-5


def logme(features: Any, labels: Any) -> float:
    """Return the logarithm of the maximum evidence.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        Log evidence in nats per image, mean over classes.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    hot = one_hot(labels)
    sigma, basis = spectrum_of(features)
    x = basis.T @ hot
    rest = numpy.maximum(hot.sum(axis=0) - (x**2).sum(axis=0), 0)
    n, d = features.shape
    return float(numpy.mean([evidence(sigma, x[:, c], rest[c], n, d)[0] for c in range(len(rest))]))


def evidence(
    sigma: numpy.ndarray, x: numpy.ndarray, rest: float, n: int, d: int
) -> tuple[float, float, float]:
    """Maximise the evidence of one target.

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
