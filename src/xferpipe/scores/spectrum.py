"""The spectrum of a feature matrix F = U S V^T, taken from its smaller side.

Many scores spend most of their time on that of the centred features. They take it as the parameter
`spectrum`, which `Inputs` makes once for all scores of a model; alone, each makes its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy


class Spectrum(NamedTuple):
    """Squared singular values above rounding, largest first (k), and the left vectors U (n, k)."""

    sigma: numpy.ndarray
    basis: numpy.ndarray


def spectrum_of(features: numpy.ndarray) -> Spectrum:
    """Return the spectrum of F, float64 (n, d)."""
    wide = features.shape[0] < features.shape[1]
    gram = features @ features.T if wide else features.T @ features
    sigma, vectors = numpy.linalg.eigh(gram)
    floor = max(features.shape) * numpy.finfo(numpy.float64).eps * sigma.max(initial=0)
    kept = sigma[::-1] > floor
    sigma, vectors = sigma[::-1][kept], vectors[:, ::-1][:, kept]
    return Spectrum(sigma, vectors if wide else features @ vectors / numpy.sqrt(sigma))


def centred_spectrum(features: numpy.ndarray) -> Spectrum:
    """Return the spectrum of the features (n, d) less their mean."""
    return spectrum_of(features - features.mean(axis=0))
