"""N-LEEP: LEEP for a model without a source head; clusters of its features take the head's place.

Features are reduced by PCA to the fewest components with 80 % of the variance; a Gaussian mixture
of 5 c components (diagonal covariances) is fitted to them, and its posterior over components is
theta in LEEP's formula. In nats, at most 0.

Undefined: fewer images than 5 c, fewer than two images or classes, constant or not finite features.
Source: Li et al., CVPR 2021. Diagonal covariances are ours: a full one has more parameters than
the 25 images of a class can give.
"""

from __future__ import annotations

from typing import Any

import numpy
from sklearn.mixture import GaussianMixture

from xferpipe.scores.inputs import Undefined, checked
from xferpipe.scores.source_posterior import expected_log_prediction
from xferpipe.seeding import stream

VARIANCE = 0.8
COMPONENTS_PER_CLASS = 5


def reduced(features: numpy.ndarray, variance: float) -> numpy.ndarray:
    """Return the principal components that first hold a share of the variance (n, k)."""
    centred = features - features.mean(axis=0)
    n, d = centred.shape
    values, vectors = numpy.linalg.eigh(centred @ centred.T if n < d else centred.T @ centred)
    values, vectors = numpy.maximum(values[::-1], 0), vectors[:, ::-1]
    share = values.cumsum() / values.sum()
    count = int(numpy.searchsorted(share, variance, side="right")) + 1
    if n < d:
        return vectors[:, :count] * numpy.sqrt(values[:count])
    return centred @ vectors[:, :count]


def n_leep(features: Any, labels: Any, seed: int = 0) -> float:
    """Return LEEP with a Gaussian mixture's posterior for the source head's.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
        seed: Seed of the mixture's start.
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
    points = reduced(features, VARIANCE)
    mixture = GaussianMixture(
        components,
        covariance_type="diag",
        random_state=stream(seed, "scores", "n_leep") % 2**32,
    )
    return expected_log_prediction(mixture.fit(points).predict_proba(points), labels)
