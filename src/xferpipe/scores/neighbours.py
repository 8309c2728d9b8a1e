"""Accuracy of the k nearest neighbours on images that are not among them.

Each image is classified by its k = 5 nearest others (Euclidean distance of raw features), each
voting with the inverse of its distance; neighbours at distance zero outvote all others. The
image's fold, one image of every class, has no vote (`held_out`), so that its own class has as many
voters as the others. A fraction.

Undefined: fewer than two images or classes, one image in every class, constant or not finite
features. Where fewer than 5 images are left, all of them vote.
Source: Cover and Hart 1967; a strong baseline for model selection in later comparisons.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.held_out import accuracy_interval, folds_of
from xferpipe.scores.inputs import checked, one_hot

NEIGHBOURS = 5
_BLOCK = 1024


def _right(features: Any, labels: Any, halves: bool = False) -> list[numpy.ndarray]:
    """Tell for each image whether its neighbours outside its fold name its class (n).

    Returns:
        That; with `halves`, the same of its neighbours outside all folds of its parity; the folds.
    """
    features, labels = checked(features, labels)
    folds = folds_of(labels)
    groupings = [folds, folds % 2] if halves else [folds]
    n = len(features)
    # Distances do not feel a translation; a centred origin keeps their cancellation small.
    features = features - features.mean(axis=0)
    squares = (features**2).sum(axis=1)
    hot = one_hot(labels)
    right = [numpy.empty(n, dtype=bool) for _ in groupings]
    for start in range(0, n, _BLOCK):
        rows = numpy.arange(start, min(start + _BLOCK, n))
        approximate = squares[rows, None] + squares - 2 * features[rows] @ features.T
        for groups, found in zip(groupings, right, strict=True):
            k = min(NEIGHBOURS, n - int(numpy.bincount(groups).max()))
            others = numpy.where(groups[rows, None] == groups, numpy.inf, approximate)
            nearest = numpy.argpartition(others, k - 1, axis=1)[:, :k]
            # The product form loses digits between near images: those that vote are measured again.
            distance = numpy.linalg.norm(features[rows, None] - features[nearest], axis=2)
            same = distance == 0
            with numpy.errstate(divide="ignore"):
                weight = numpy.where(same.any(axis=1, keepdims=True), same, 1 / distance)
            votes = (weight[:, :, None] * hot[nearest]).sum(axis=1)
            found[rows] = votes.argmax(axis=1) == labels[rows]
    return [*right, folds]


def knn(features: Any, labels: Any) -> float:
    """Return the held-out accuracy of a 5-nearest-neighbour classifier.

    Args:
        features: Raw features, float (n, d).
        labels: Class labels, integer (n). The k-th images of all classes are left out together.
    Returns:
        A fraction.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    return float(_right(features, labels)[0].mean())


def knn_interval(features: Any, labels: Any, confidence: float) -> tuple[float, float]:
    """Return an interval of the accuracy that probes of this size have on other images.

    Args:
        features, labels: As for `knn`.
        confidence: Level of the interval.
    Returns:
        Its ends, fractions; see `held_out.accuracy_interval`.
    """
    return accuracy_interval(*_right(features, labels, halves=True), confidence)
