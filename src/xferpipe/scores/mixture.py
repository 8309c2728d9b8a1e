"""N-LEEP: LEEP for a model without a source head; clusters of its features take the head's place.

Features are reduced by PCA to the fewest components with 80 % of the variance; a mixture of 5 c
Gaussians, each with a full covariance, is fitted to them, and its posterior over components is
theta in LEEP's formula. In nats, at most 0.

A full covariance has more parameters than a component has images. What is added to its diagonal
keeps it a density, and the posterior is then nearly that of the k-means clusters that the fit
starts from. So is the published score; see `gaussians.py` for the fit.

Undefined: fewer images than 5 c, fewer than two images or classes, constant or not finite features.
Source: Li et al., CVPR 2021; full covariances as in its published implementations, whose mixtures
are scikit-learn's by default.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.gaussians import posterior
from xferpipe.scores.inputs import Undefined, checked
from xferpipe.scores.source_posterior import expected_log_prediction
from xferpipe.scores.spectrum import Spectrum, centred_spectrum
from xferpipe.seeding import stream

VARIANCE = 0.8
COMPONENTS_PER_CLASS = 5


def reduced(spectrum: Spectrum, variance: float) -> numpy.ndarray:
    """Return the principal components that first hold a share of the variance (n, k)."""
    sigma, basis = spectrum
    share = sigma.cumsum() / sigma.sum()
    count = int(numpy.searchsorted(share, variance, side="right")) + 1
    return basis[:, :count] * numpy.sqrt(sigma[:count])


def n_leep(features: Any, labels: Any, seed: int = 0, spectrum: Spectrum | None = None) -> float:
    """Return LEEP with a Gaussian mixture's posterior for the source head's.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
        seed: Seed of the mixture's start.
        spectrum: Spectrum of the centred features, where it is at hand.
    Returns:
        N-LEEP in nats.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    components = COMPONENTS_PER_CLASS * (int(labels.max()) + 1)
    if len(labels) < components:
        raise Undefined(f"{len(labels)} probe images for a mixture of {components} components")
    points = reduced(spectrum or centred_spectrum(features), VARIANCE)
    start = stream(seed, "scores", "n_leep") % 2**32
    return expected_log_prediction(posterior(points, components, start), labels)
