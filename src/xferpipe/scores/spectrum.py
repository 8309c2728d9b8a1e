"""The spectrum of a feature matrix, taken from its smaller side."""

from __future__ import annotations

import numpy


def projected(features: numpy.ndarray, targets: numpy.ndarray) -> tuple[numpy.ndarray, ...]:
    """Return the squared singular values of F and U^T T, with F = U S V^T.

    Args:
        features: F, float64 (n, d).
        targets: T, float64 (n, c).
    Returns:
        Squared singular values above rounding (k); U^T T (k, c).
    """
    n, d = features.shape
    if n < d:
        sigma, left = numpy.linalg.eigh(features @ features.T)
        kept = _above_rounding(sigma, n, d)
        return sigma[kept], left[:, kept].T @ targets
    sigma, right = numpy.linalg.eigh(features.T @ features)
    kept = _above_rounding(sigma, n, d)
    cross = right[:, kept].T @ (features.T @ targets)
    return sigma[kept], cross / numpy.sqrt(sigma[kept])[:, None]


def _above_rounding(sigma: numpy.ndarray, n: int, d: int) -> numpy.ndarray:
    return sigma > max(n, d) * numpy.finfo(numpy.float64).eps * sigma.max(initial=0)
