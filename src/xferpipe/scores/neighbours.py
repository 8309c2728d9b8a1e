"""Leave-one-out k-nearest-neighbour accuracy.

Each image is classified by its k = 5 nearest others (Euclidean distance of raw features), each
voting with the inverse of its distance; neighbours at distance zero outvote all others. A fraction.

Undefined: fewer than two images or classes, constant or not finite features. With fewer than 6
images, all others vote.
Source: Cover and Hart 1967; a strong baseline for model selection in later comparisons.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import checked, one_hot

NEIGHBOURS = 5
_BLOCK = 1024


def _right(features: Any, labels: Any) -> numpy.ndarray:
    """Tell for each image whether its neighbours name its class (n)."""
    features, labels = checked(features, labels)
    n = len(features)
    k = min(NEIGHBOURS, n - 1)
    # Distances do not feel a translation; a centred origin keeps their cancellation small.
    features = features - features.mean(axis=0)
    squares = (features**2).sum(axis=1)
    hot = one_hot(labels)
    right = numpy.empty(n, dtype=bool)
    for start in range(0, n, _BLOCK):
        rows = numpy.arange(start, min(start + _BLOCK, n))
        approximate = squares[rows, None] + squares - 2 * features[rows] @ features.T
        approximate[numpy.arange(rows.size), rows] = numpy.inf
        nearest = numpy.argpartition(approximate, k - 1, axis=1)[:, :k]
        # The product form loses digits between near images: the few that vote are measured again.
        distance = numpy.linalg.norm(features[rows, None] - features[nearest], axis=2)
        same = distance == 0
        with numpy.errstate(divide="ignore"):
            weight = numpy.where(same.any(axis=1, keepdims=True), same, 1 / distance)
        votes = (weight[:, :, None] * hot[nearest]).sum(axis=1)
        right[rows] = votes.argmax(axis=1) == labels[rows]
    return right


def knn(features: Any, labels: Any) -> float:
    """Return the leave-one-out accuracy of a 5-nearest-neighbour classifier.

    Args:
        features: Raw features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        A fraction.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    return float(_right(features, labels).mean())


def knn_draws(features: Any, labels: Any, counts: numpy.ndarray) -> numpy.ndarray:
    """Return the accuracy over the images of every bootstrap draw; `counts` (b, n).

    The neighbours stay those among all images: in a draw, an image's copies would vote for it.
    """
    return counts @ _right(features, labels) / counts.sum(axis=1)
