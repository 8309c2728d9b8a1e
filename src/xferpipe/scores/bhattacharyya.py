"""Gaussian Bhattacharyya coefficient (GBC): how much the classes overlap.

Each class is a Gaussian of its mean and its variance, per feature (`gbc_diagonal`) or one for all
(`gbc_spherical`). Over ordered pairs of classes:

    -sum exp(-D_B),  D_B = 1/8 dm^T S^-1 dm + 1/2 ln(det S / sqrt(det S1 det S2)),  S = (S1 + S2)/2

At most 0, no unit. Variances are at least 1e-4, as in the authors' code; a spherical determinant is
the variance to the power d.

Undefined: fewer than two images or classes, constant or not finite features.
Source: Pandy et al., CVPR 2022.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import checked, one_hot

FLOOR = 1e-4


def _coefficient(features: Any, labels: Any, spherical: bool) -> float:
    features, labels = checked(features, labels)
    hot = one_hot(labels)
    counts = hot.sum(axis=0)[:, None]
    means = hot.T @ features / counts
    variances = numpy.empty_like(means)
    for label in range(len(means)):
        own = features[labels == label]
        variances[label] = numpy.maximum(((own - means[label]) ** 2).mean(axis=0), FLOOR)
    if spherical:
        variances = numpy.repeat(variances.mean(axis=1, keepdims=True), means.shape[1], axis=1)
    logarithms = numpy.log(variances).sum(axis=1)
    total = 0.0
    for label in range(len(means) - 1):
        shared = (variances[label] + variances[label + 1 :]) / 2
        between = ((means[label] - means[label + 1 :]) ** 2 / shared).sum(axis=1) / 8
        spread = numpy.log(shared).sum(axis=1) - (logarithms[label] + logarithms[label + 1 :]) / 2
        # Each unordered pair stands for two ordered ones.
        total += 2 * numpy.exp(-between - spread / 2).sum()
    return -float(total)


def gbc_diagonal(features: Any, labels: Any) -> float:
    """Return the overlap of classes as Gaussians with one variance per feature, negated.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        The negated coefficient, at most 0.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    return _coefficient(features, labels, spherical=False)


def gbc_spherical(features: Any, labels: Any) -> float:
    """Return the overlap of classes as Gaussians with one variance each; as `gbc_diagonal`."""
    return _coefficient(features, labels, spherical=True)
