"""H-score: how much of the features' variance lies between classes, whitened.

    H-score      tr(pinv(cov F) cov G), G_i the mean features of image i's class
    regularised  tr(inv(cov_a) (1 - a) cov G), cov_a = (1 - a) cov F + a tr(cov F)/d I with the
                 Ledoit-Wolf shrinkage a

No unit; in [0, c - 1]. Both come from the spectrum of the centred features F = U S V^T: with the
class indicators Y scaled to unit columns, the first is |U^T Y|_F^2 over the directions that F has,
whatever the size of each channel.

Undefined: fewer than two images or classes, constant or not finite features. The H-score: features
that have every direction of n images, as more features than images mostly have; it is then c - 1
whatever they are.
Source: Bao et al., ICIP 2019; Ibrahim et al., 2021 (arXiv 2110.06893); Ledoit and Wolf, JMVA 2004.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import Undefined, checked, one_hot
from xferpipe.scores.spectrum import Spectrum, centred_spectrum, column_space


def _shares(basis: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Return the share of the classes in each direction of a basis (n, k), in [0, 1] (k)."""
    hot = one_hot(labels)
    share = basis.T @ (hot / numpy.sqrt(hot.sum(axis=0)))
    return (share**2).sum(axis=1)


def ledoit_wolf_shrinkage(features: numpy.ndarray, sigma: numpy.ndarray) -> float:
    """Return the Ledoit-Wolf shrinkage of the covariance of features (n, d), a fraction.

    Args:
        features: float64 (n, d).
        sigma: Squared singular values of the centred features (k).
    """
    n, d = features.shape
    squared = (sigma**2).sum() / n**2
    trace = sigma.sum() / n
    fourth = (((features - features.mean(axis=0)) ** 2).sum(axis=1) ** 2).sum()
    noise = (fourth / n - squared) / (d * n)
    spread = (squared - trace**2 / d) / d
    noise = min(noise, spread)
    return 0.0 if noise <= 0 else float(noise / spread)


def h_score(features: Any, labels: Any) -> float:
    """Return the H-score.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        tr(pinv(cov F) cov G).
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    basis = column_space(features - features.mean(axis=0))
    n, k = basis.shape
    if k == n - 1:
        raise Undefined(
            f"the features of {n} images have all {k} directions that there are, so that every "
            f"model gets {labels.max()}; use h_score_regularized, or more images than features"
        )
    return float(_shares(basis, labels).sum())


def h_score_regularized(features: Any, labels: Any, spectrum: Spectrum | None = None) -> float:
    """Return the H-score with a shrunk covariance.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
        spectrum: Spectrum of the centred features, where it is at hand.
    Returns:
        tr(inv(cov_a) (1 - a) cov G).
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    sigma, basis = spectrum or centred_spectrum(features)
    share = _shares(basis, labels)
    n, d = features.shape
    shrinkage = ledoit_wolf_shrinkage(features, sigma)
    variance = sigma / n
    shrunk = (1 - shrinkage) * variance + shrinkage * variance.sum() / d
    return float(((1 - shrinkage) * variance * share / shrunk).sum())
