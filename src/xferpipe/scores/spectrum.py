"""The spectrum of a feature matrix F = U S V^T, taken from its smaller side.

Many scores spend most of their time on that of the centred features. They take it as the parameter
`spectrum`, which `Inputs` makes once for all scores of a model; alone, each makes its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy
from scipy.linalg import qr, svd

#: Ratio of the largest column to the least spread of one up to which their squares share one Gram
#: matrix.
_EVEN = 1e4


class Spectrum(NamedTuple):
    """Squared singular values above rounding, largest first (k), and the left vectors U (n, k)."""

    sigma: numpy.ndarray
    basis: numpy.ndarray


def spectrum_of(features: numpy.ndarray) -> Spectrum:
    """Return the spectrum of F, float64 (n, d).

    It is that of the Gram matrix of the smaller side. Where one channel is many times as large as
    another, or as its own spread, its square would leave nothing of that: F itself is decomposed,
    in thrice the time.
    """
    if uneven(features):
        return _of_uneven(features)
    wide = features.shape[0] < features.shape[1]
    gram = features @ features.T if wide else features.T @ features
    sigma, vectors = numpy.linalg.eigh(gram)
    floor = max(features.shape) * numpy.finfo(numpy.float64).eps * sigma.max(initial=0)
    kept = sigma[::-1] > floor
    sigma, vectors = sigma[::-1][kept], vectors[:, ::-1][:, kept]
    return Spectrum(sigma, vectors if wide else features @ vectors / numpy.sqrt(sigma))


def uneven(features: numpy.ndarray) -> bool:
    """Tell whether a Gram matrix of F, float64 (n, d), would lose what some channel varies by."""
    spread = numpy.sqrt(len(features)) * features.std(axis=0)
    spread = spread[spread > 0]
    if len(spread) == 0:
        return False
    return bool(numpy.linalg.norm(features, axis=0).max() > _EVEN * spread.min())


def _of_uneven(features: numpy.ndarray) -> Spectrum:
    n, d = features.shape
    if n < d:
        # U and S are those of the triangle of F^T, which is n x n.
        features = qr(features.T, mode="r")[0][:n].T
    basis, values, _ = svd(features, full_matrices=False)
    kept = values > max(n, d) * numpy.finfo(numpy.float64).eps * values.max(initial=0)
    return Spectrum(values[kept] ** 2, basis[:, kept])


def centred_spectrum(features: numpy.ndarray) -> Spectrum:
    """Return the spectrum of the features (n, d) less their mean."""
    return spectrum_of(features - features.mean(axis=0))


def column_space(features: numpy.ndarray) -> numpy.ndarray:
    """Return an orthonormal basis (n, k) of what the columns of F span, float64 (n, d).

    A channel counts whatever its size: columns are brought to one length first, and directions
    below the rounding of single precision are none.
    """
    lengths = numpy.linalg.norm(features, axis=0)
    return spectrum_of(features / numpy.where(lengths > 0, lengths, 1)).basis
