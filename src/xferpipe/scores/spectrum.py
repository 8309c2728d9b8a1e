"""The spectrum of a feature matrix F = U S V^T, taken from its smaller side."""

from __future__ import annotations

import numpy


def projected(features: numpy.ndarray, targets: numpy.ndarray) -> tuple[numpy.ndarray, ...]:
    """Return the squared singular values of F and U^T T, without U where it is the larger side.

    Args:
        features: F, float64 (n, d).
        targets: T, float64 (n, c).
    Returns:
        Squared singular values above rounding (k); U^T T (k, c).
    """
    sigma, vectors = _smaller_side(features)
    if _wide(features):
        return sigma, vectors.T @ targets
    return sigma, vectors.T @ (features.T @ targets) / numpy.sqrt(sigma)[:, None]


def left_basis(features: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the squared singular values of F (n, d) above rounding (k), and U (n, k)."""
    sigma, vectors = _smaller_side(features)
    if _wide(features):
        return sigma, vectors
    return sigma, features @ vectors / numpy.sqrt(sigma)


def _wide(features: numpy.ndarray) -> bool:
    return features.shape[0] < features.shape[1]


def _smaller_side(features: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    gram = features @ features.T if _wide(features) else features.T @ features
    sigma, vectors = numpy.linalg.eigh(gram)
    floor = max(features.shape) * numpy.finfo(numpy.float64).eps * sigma.max(initial=0)
    return sigma[sigma > floor], vectors[:, sigma > floor]
