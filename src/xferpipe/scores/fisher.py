"""Scores in Fisher's space: SFDA and ETran.

A linear discriminant with shrunk within-class covariance gives p(y | x); the shrinkage is
max(exp(-5 lambda), 1e-10), lambda the largest eigenvalue of the within-class covariance.

    SFDA    mean p(y_i | x_i) of a second discriminant, fitted after each image was moved towards
            the mean of the other classes' means by 1 - (softmaxed) p(y_i | x_i) of the first
    ETran   energy + discriminant, each scaled to [0, 1] over the pool of models, which only
            aggregation knows; stored here are `part=energy`, mean_i log sum_j exp(f_ij), and
            `part=discriminant`, mean p(y_i | x_i) of the first discriminant

SFDA and `part=discriminant` are fractions, `part=energy` is in feature units.

Undefined: fewer than two images or classes, constant or not finite features, no variance within
classes.
Source: SFDA: Shao et al., ECCV 2022; ETran: Gholami et al., ICCV 2023 (its classification form; it
takes an unshrunk discriminant).
"""

from __future__ import annotations

from typing import Any

import numpy
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import eigsh
from scipy.special import logsumexp, softmax

from xferpipe.scores.inputs import Undefined, checked, one_hot
from xferpipe.seeding import numpy_generator


def _near_zero(features: Any, labels: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return checked features less their mean, and labels.

    A discriminant does not feel where the origin is, and far from it loses digits: its logits are
    differences of products of the features with the classes' means.
    """
    features, labels = checked(features, labels)
    return features - features.mean(axis=0), labels


def within_covariance(features: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Return the covariance within classes (d, d), over n."""
    hot = one_hot(labels)
    inner = features - (hot.T @ features / hot.sum(axis=0)[:, None])[labels]
    return inner.T @ inner / len(labels)


def shrinkage_of(covariance: numpy.ndarray) -> float:
    """Return the shrinkage for a within-class covariance (d, d).

    Raises:
        Undefined: There is no scatter within classes (one image of each, say).
    """
    if not covariance.any():
        raise Undefined("the images of each class have equal features")
    if len(covariance) < 64:
        largest = numpy.linalg.eigvalsh(covariance)[-1]
    else:
        # A fixed start makes the iteration the same in every run; a drawn one is no null vector.
        start = numpy_generator(0, "scores", "fisher").standard_normal(len(covariance))
        largest = eigsh(covariance, k=1, v0=start, return_eigenvectors=False)[0]
    return max(float(numpy.exp(-5 * largest)), 1e-10)


def posterior(
    features: numpy.ndarray, labels: numpy.ndarray, covariance: numpy.ndarray, shrinkage: float
) -> numpy.ndarray:
    """Return p(y | x) of a linear discriminant.

    Args:
        features: float64 (n, d).
        labels: Dense labels (n).
        covariance: Their covariance within classes (d, d).
        shrinkage: Share of the identity in the within-class covariance.
    Returns:
        Fractions (n, c).
    """
    hot = one_hot(labels)
    means = hot.T @ features / hot.sum(axis=0)[:, None]
    mean = numpy.trace(covariance) / len(covariance)
    if not mean > 0:
        raise Undefined("the images of each class have equal features")
    shrunk = (1 - shrinkage) * covariance
    shrunk.flat[:: len(shrunk) + 1] += shrinkage * mean
    try:
        weights = cho_solve(cho_factor(shrunk), means.T)
    except numpy.linalg.LinAlgError:
        raise Undefined("the covariance within classes is singular to rounding") from None
    intercept = -0.5 * (means.T * weights).sum(axis=0) + numpy.log(hot.mean(axis=0))
    return softmax(features @ weights + intercept, axis=1)


def sfda(features: Any, labels: Any) -> float:
    """Return the mean posterior of the true class in a self-challenging Fisher space.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        A fraction.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = _near_zero(features, labels)
    covariance = within_covariance(features, labels)
    shrinkage = shrinkage_of(covariance)
    everyone = numpy.arange(len(labels))
    chance = posterior(features, labels, covariance, shrinkage)
    sure = softmax(chance, axis=1)[everyone, labels][:, None]
    hot = one_hot(labels)
    means = hot.T @ features / hot.sum(axis=0)[:, None]
    others = (means.sum(axis=0) - means) / (len(means) - 1)
    mixed = sure * features + (1 - sure) * others[labels]
    covariance = within_covariance(mixed, labels)
    return float(posterior(mixed, labels, covariance, shrinkage)[everyone, labels].mean())


def etran(features: Any, labels: Any) -> dict[str, float]:
    """Return the raw parts of ETran.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        `part=energy` and `part=discriminant`.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    energy = float(logsumexp(checked(features, labels)[0], axis=1).mean())
    features, labels = _near_zero(features, labels)
    covariance = within_covariance(features, labels)
    chance = posterior(features, labels, covariance, shrinkage_of(covariance))
    right = chance[numpy.arange(len(labels)), labels]
    return {
        "part=energy": energy,
        "part=discriminant": float(right.mean()),
    }
