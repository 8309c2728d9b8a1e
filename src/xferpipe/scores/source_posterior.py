"""Scores of what a source head says about the target's images: LEEP and NCE.

With theta (n, z) the softmax of the source head and joint P(y, z) = (1/n) sum over i with y_i = y
of theta_iz, P(z) = sum_y P(y, z), P(y | z) = P(y, z) / P(z):

    LEEP = mean_i log sum_z P(y_i | z) theta_iz              in nats, at most 0
    NCE  = sum_{y,z} P(y, z) log P(y | z)                    the same with theta one-hot at its top

A source class without mass counts nothing (its P(y | z) has no value and weighs zero).
Undefined: fewer than two images or classes, NaN, no source head.
Source: LEEP: Nguyen et al., ICML 2020; NCE: Tran et al., ICCV 2019.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import one_hot, probabilities


def _conditional(joint: numpy.ndarray) -> numpy.ndarray:
    """Return P(y | z) from P(y, z); zero where the source class has no mass."""
    mass = joint.sum(axis=-2, keepdims=True)
    return numpy.divide(joint, mass, out=numpy.zeros_like(joint), where=mass > 0)


def expected_log_prediction(theta: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return LEEP of any posterior theta (n, z) and dense labels (n), in nats."""
    conditional = _conditional(one_hot(labels).T @ theta / len(labels))
    return float(numpy.log((conditional[labels] * theta).sum(axis=1)).mean())


def leep(source_probabilities: Any, labels: Any) -> float:
    """Return the log expected empirical prediction.

    Args:
        source_probabilities: Softmax of the source head, fractions (n, z).
        labels: Class labels, integer (n).
    Returns:
        LEEP in nats; at most 0, higher is better.
    Raises:
        ValueError: Wrong shapes or ranges.
        Undefined: See the module.
    """
    return expected_log_prediction(*probabilities(source_probabilities, labels))


def leep_draws(source_probabilities: Any, labels: Any, counts: numpy.ndarray) -> numpy.ndarray:
    """Return LEEP of every bootstrap draw; `counts` (b, n)."""
    theta, labels = probabilities(source_probabilities, labels)
    hot = one_hot(labels)
    values = []
    for weights in counts:
        conditional = _conditional((hot * weights[:, None]).T @ theta / weights.sum())
        held = weights > 0
        predicted = (conditional[labels[held]] * theta[held]).sum(axis=1)
        values.append(weights[held] @ numpy.log(predicted) / weights.sum())
    return numpy.array(values)


def _top(source_probabilities: Any, labels: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    theta, labels = probabilities(source_probabilities, labels)
    return numpy.eye(theta.shape[1])[theta.argmax(axis=1)], labels


def nce(source_probabilities: Any, labels: Any) -> float:
    """Return the negative conditional entropy of the labels given the source head's top class.

    Args:
        source_probabilities: Softmax of the source head, fractions (n, z).
        labels: Class labels, integer (n).
    Returns:
        NCE in nats; at most 0, higher is better.
    Raises:
        ValueError: Wrong shapes or ranges.
        Undefined: See the module.
    """
    theta, labels = _top(source_probabilities, labels)
    joint = one_hot(labels).T @ theta / len(labels)
    filled = joint > 0
    return float((joint[filled] * numpy.log(_conditional(joint)[filled])).sum())


def nce_draws(source_probabilities: Any, labels: Any, counts: numpy.ndarray) -> numpy.ndarray:
    """Return NCE of every bootstrap draw; `counts` (b, n)."""
    theta, labels = _top(source_probabilities, labels)
    joint = numpy.einsum("bn,ny,nz->byz", counts, one_hot(labels), theta, optimize=True)
    joint /= counts.sum(axis=1)[:, None, None]
    logarithm = numpy.log(_conditional(joint), out=numpy.zeros_like(joint), where=joint > 0)
    return (joint * logarithm).sum(axis=(1, 2))
