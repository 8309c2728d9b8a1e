"""Scores that compare pairs of images: RSA against a small network, PARC against the labels.

With R_ij = 1 - Pearson(f_i, f_j) over the features of two images (a dissimilarity in [0, 2]):

    RSA         Spearman of the strict upper triangles of R of the model and of a small network
                trained on the target
    rsa_zscored the same with every feature of both networks z-scored over images first
    PARC        100 x Spearman of R of the z-scored features and of the one-hot labels

RSA is in [-1, 1], PARC in [-100, 100]. A feature equal for all images is left out when z-scoring.

Undefined: fewer than three images or two classes, not finite features, an image whose features are
all equal (its correlation has no value), a dissimilarity equal for all pairs, no small network.
Source: RSA: Dwivedi and Roig, CVPR 2019; PARC: Bolya et al., NeurIPS 2021.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import Undefined, checked, matrix
from xferpipe.scores.memory import require_memory

#: Digits of a dissimilarity as a part of the largest.
_DIGITS = 12


def zscored(features: numpy.ndarray) -> numpy.ndarray:
    """Scale each feature (column) to mean 0 and deviation 1; constant ones are left out."""
    scale = features.std(axis=0)
    varying = scale > 1e-12 * numpy.abs(features).max(axis=0)
    return (features[:, varying] - features[:, varying].mean(axis=0)) / scale[varying]


def dissimilarities(features: numpy.ndarray, name: str = "features") -> numpy.ndarray:
    """Return 1 - Pearson for all pairs of rows (n, d), the strict upper triangle in one vector.

    In parts of the largest, since only their order is asked for.
    """
    rows = features - features.mean(axis=1, keepdims=True)
    norms = numpy.linalg.norm(rows, axis=1, keepdims=True)
    if (norms <= 1e-12 * numpy.abs(features).max(initial=0)).any():
        raise Undefined(f"{name} of an image are all equal, so their correlation has no value")
    rows = rows / norms
    # Half their squared distance, less the mean row, which changes none: rows that are nearly
    # equal, as those of features far from zero, have products that are 1 but for their last digits.
    rows -= rows.mean(axis=0)
    halves = (rows**2).sum(axis=1) / 2
    # The matrix itself; of its half the places of rows and columns, the values, their order and
    # their ranks.
    require_memory(8 * len(rows) ** 2 * 4, f"the comparison of {len(rows):,} images in pairs")
    matrix = rows @ rows.T
    numpy.subtract(halves, matrix, out=matrix)
    matrix += halves[:, None]
    values = matrix[numpy.triu_indices(len(rows), 1)]
    # Equal ones, as all are of two features, differ by rounding: that is no order.
    return numpy.round(values / (values.max(initial=0) or 1), _DIGITS)


def ranks(values: numpy.ndarray) -> numpy.ndarray:
    """Return the rank of each value (m), 1-based, ties at their mean."""
    # Pairs of images are millions: one sort is all that ranks need.
    order = values.argsort()
    ordered = values[order]
    first = numpy.flatnonzero(numpy.append(True, ordered[1:] != ordered[:-1]))
    many = numpy.diff(numpy.append(first, len(values)))
    rank = numpy.empty(len(values))
    rank[order] = numpy.repeat(first + (many + 1) / 2, many)
    return rank


def _spearman(first: numpy.ndarray, second: numpy.ndarray) -> float:
    return _correlation(ranks(first), ranks(second))


def _correlation(first: numpy.ndarray, second: numpy.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = numpy.sqrt((first @ first) * (second @ second))
    if not scale > 0:
        raise Undefined("all pairs of images are equally dissimilar")
    return float(first @ second / scale)


def _pair(features: Any, labels: Any, reference_features: Any) -> tuple[numpy.ndarray, ...]:
    features, _ = checked(features, labels)
    reference = matrix(reference_features, "reference_features")
    if len(reference) != len(features):
        raise ValueError(
            f"features has {len(features)} rows but reference_features {len(reference)}; both are "
            "of the same probe images"
        )
    return features, reference


def rsa(features: Any, labels: Any, reference_features: Any) -> float:
    """Correlate the model's dissimilarities with those of a small network trained on the target.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n); checked, not used.
        reference_features: Features of the small network, float (n, e).
    Returns:
        Spearman's correlation.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, reference = _pair(features, labels, reference_features)
    return _spearman(dissimilarities(features), dissimilarities(reference, "reference_features"))


def rsa_zscored(features: Any, labels: Any, reference_features: Any) -> float:
    """Return RSA of z-scored features; as `rsa`."""
    features, reference = _pair(features, labels, reference_features)
    return _spearman(
        dissimilarities(zscored(features)),
        dissimilarities(zscored(reference), "reference_features"),
    )


def parc(features: Any, labels: Any) -> float:
    """Correlate the dissimilarities of z-scored features with those of one-hot labels.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        100 times Spearman's correlation.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    # One-hot rows have two dissimilarities, and ranks of two values are a straight line of them.
    differ = (labels[:, None] != labels)[numpy.triu_indices(len(labels), 1)]
    return 100 * _correlation(ranks(dissimilarities(zscored(features))), differ.astype(float))
