"""Domain similarity: how near the source's classes lie to the target's under the model.

    exp(-0.01 EMD), EMD the earth mover's distance between source and target class means, each
    class weighing its share of images, with Euclidean (not squared) ground distance

In (0, 1]. Classes with fewer than `minimum_class_images` images are dropped on either side. The
source enters by the class means that the zoo entry stores: no source image is read.

Undefined: fewer than two images or classes, not finite features, no class means, or no class left.
Source: Cui et al., CVPR 2018 (and its authors' code; their minimum count is not known).
"""

from __future__ import annotations

from typing import Any

import numpy
from ot import emd2
from scipy.spatial.distance import cdist

from xferpipe.scores.inputs import Undefined, checked, matrix, one_hot

GAMMA = 0.01


def domain_similarity(
    features: Any,
    labels: Any,
    class_means: Any,
    class_counts: Any,
    minimum_class_images: int = 1,
) -> float:
    """Return the similarity of source and target class means.

    Args:
        features: Features of the target's probe images, float (n, d).
        labels: Class labels, integer (n).
        class_means: Mean features of the source's classes, float (s, d).
        class_counts: Source images of each class, integer (s).
        minimum_class_images: Classes with fewer images are dropped.
    Returns:
        exp(-0.01 EMD).
    Raises:
        ValueError: Wrong shapes, label range or counts.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    source = matrix(class_means, "class_means")
    counts = numpy.asarray(class_counts)
    if source.shape[1] != features.shape[1]:
        raise ValueError(
            f"class_means has {source.shape[1]} features but the probe images have "
            f"{features.shape[1]}; both come from one model"
        )
    if counts.shape != (len(source),) or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(
            f"class_counts has shape {counts.shape} and type {counts.dtype}; expected "
            f"{len(source)} counts of images, one for each row of class_means"
        )
    hot = one_hot(labels)
    own_counts = hot.sum(axis=0)
    own = (hot.T @ features) / own_counts[:, None]
    least = max(1, minimum_class_images)
    source, counts = source[counts >= least], counts[counts >= least].astype(numpy.float64)
    own, own_counts = own[own_counts >= least], own_counts[own_counts >= least]
    if not len(source) or not len(own):
        raise Undefined(f"no class of source or target has {least} images")
    distance = cdist(source, own)
    moved = emd2(counts / counts.sum(), own_counts / own_counts.sum(), distance, numItermax=10**7)
    return float(numpy.exp(-GAMMA * moved))
