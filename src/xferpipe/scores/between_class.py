"""H-score: how much of the features' variance lies between classes, whitened.

    H-score      tr(pinv(cov F) cov G), G_i the mean features of image i's class
    regularised  tr(inv(cov_a) (1 - a) cov G), cov_a = (1 - a) cov F + a tr(cov F)/d I with the
                 Ledoit-Wolf shrinkage a

No unit; in [0, c - 1]. Both come from one spectrum of the centred features F = U S V^T: with the
class indicators Y scaled to unit columns, the first is |U^T Y|_F^2 over the directions that F has.

Undefined: fewer than two images or classes, constant or not finite features.
Source: Bao et al., ICIP 2019; Ibrahim et al., 2021 (arXiv 2110.06893); Ledoit and Wolf, JMVA 2004.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import checked, one_hot
from xferpipe.scores.spectrum import projected


def _between(features: Any, labels: Any) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Return the centred features, their squared singular values and the classes' share of each."""
    features, labels = checked(features, labels)
    centred = features - features.mean(axis=0)
    hot = one_hot(labels)
    sigma, share = projected(centred, hot / numpy.sqrt(hot.sum(axis=0)))
    return centred, sigma, (share**2).sum(axis=1)


def ledoit_wolf_shrinkage(centred: numpy.ndarray) -> float:
    """Return the Ledoit-Wolf shrinkage of the covariance of centred rows (n, d), a fraction."""
    n, d = centred.shape
    gram = centred @ centred.T if n < d else centred.T @ centred
    squared = (gram**2).sum() / n**2
    trace = (centred**2).sum() / n
    fourth = ((centred**2).sum(axis=1) ** 2).sum()
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
    return float(_between(features, labels)[2].sum())


def h_score_regularized(features: Any, labels: Any) -> float:
    """Return the H-score with a shrunk covariance; as `h_score`."""
    centred, sigma, share = _between(features, labels)
    n, d = centred.shape
    shrinkage = ledoit_wolf_shrinkage(centred)
    variance = sigma / n
    shrunk = (1 - shrinkage) * variance + shrinkage * (centred**2).sum() / (n * d)
    return float(((1 - shrinkage) * variance * share / shrunk).sum())
