"""TransRate: bits of all features less those of each class, to a precision.

    R(F) - sum_c n_c/n R(F_c),  R(Z) = 1/2 log det(I + Z^T Z / (n_Z eps)),  eps = 1e-4

with F centred over all images. In nats; depends on the scale of the features.

Undefined: fewer than two images or classes, constant or not finite features,
features whose sizes differ by more than float64 holds.
Source: Huang et al., ICML 2022.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import Undefined, checked
from xferpipe.scores.spectrum import Spectrum, centred_spectrum, spectrum_of, uneven

EPSILON = 1e-4


def coding_rate(features: numpy.ndarray) -> float:
    """Return 1/2 log det(I + Z^T Z / (n eps)) of Z (n, d), from its smaller side."""
    n, d = features.shape
    if n < d and uneven(features):
        # The squares of a large channel would leave nothing of a small one's in sums over all.
        return float(numpy.log1p(spectrum_of(features).sigma / (n * EPSILON)).sum() / 2)
    gram = features @ features.T if n < d else features.T @ features
    gram /= n * EPSILON
    gram.flat[:: len(gram) + 1] += 1
    try:
        factor = numpy.linalg.cholesky(gram)
    except numpy.linalg.LinAlgError:
        raise Undefined("the features differ too much in size for float64") from None
    return float(numpy.log(numpy.diagonal(factor)).sum())


def transrate(features: Any, labels: Any, spectrum: Spectrum | None = None) -> float:
    """Return the rate of all features less the mean rate within classes.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
        spectrum: Spectrum of the centred features, where it is at hand.
    Returns:
        TransRate in nats.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    sigma, _ = spectrum or centred_spectrum(features)
    whole = numpy.log1p(sigma / (len(features) * EPSILON)).sum() / 2
    centred = features - features.mean(axis=0)
    within = 0.0
    for label in range(labels.max() + 1):
        own = centred[labels == label]
        within += len(own) / len(labels) * coding_rate(own)
    return float(whole - within)
