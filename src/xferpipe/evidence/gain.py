"""What one more run is worth: the knowledge gradient, with correlated beliefs.

Source:
    Frazier, Powell and Dayanik, INFORMS Journal on Computing 2009: the expected rise of the best
    mean after one more observation, which also moves the means of all pairs that are correlated
    with the observed one.
"""

from __future__ import annotations

import numpy

from xferpipe.evidence.posterior import Belief

#: Nodes and weights of the expectation over the standard normal.
_NODES, _WEIGHTS = numpy.polynomial.hermite_e.hermegauss(31)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def run_noise(held: Belief) -> numpy.ndarray:
    """Return the variance with which one more run of each pair says its figure, float64 (P).

    A first run has the noise of its seed and of the images. A further one is measured on the same
    images and takes nothing but the part of the seeds away: from s^2 / k to s^2 / (k + 1).
    """
    own = numpy.maximum(numpy.diag(held.covariance), 1e-12)
    first = held.seed_variance + held.image_variance
    k = held.counts
    less = held.seed_variance / numpy.maximum(k * (k + 1), 1)
    further = own**2 / numpy.maximum(less, 1e-12) - own
    return numpy.where(k > 0, numpy.maximum(first, further), first)


def expected_gain(
    mean: numpy.ndarray, covariance: numpy.ndarray, noise: numpy.ndarray
) -> numpy.ndarray:
    """Return by how much the best mean is expected to rise after one run of each pair.

    Args:
        mean: float64 (P).
        covariance: float64 (P, P).
        noise: Variance of a run about its pair's figure, float64 (P).
    Returns:
        float64 (P), 0 or more; in the unit of the means.
    """
    # Column j: how a run of j moves every mean, in standard deviations of what it will say.
    moved = covariance / numpy.sqrt(numpy.diag(covariance) + noise)
    best = mean.max()
    gain = numpy.zeros(len(mean))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        gain += weight * (mean[:, None] + moved * node).max(axis=0)
    return numpy.maximum(gain - best, 0.0)


def run_gain(
    mean: numpy.ndarray, covariance: numpy.ndarray, noise: numpy.ndarray, was_run: numpy.ndarray
) -> numpy.ndarray:
    """Return what one run of each pair is worth, where only a pair that was run can be taken.

    The larger of two: by how much the best mean of all pairs is expected to rise (what the run
    teaches), and by how much the best mean of those that were run is (what it makes possible, the
    pair itself included). Before any run, what can be taken is a pair at random.

    Args:
        mean: float64 (P).
        covariance: float64 (P, P).
        noise: Variance of a run about its pair's figure, float64 (P).
        was_run: Pairs with a run, bool (P).
    Returns:
        float64 (P), 0 or more; in the unit of the means.
    """
    moved = covariance / numpy.sqrt(numpy.diag(covariance) + noise)
    # What can be taken already, and how each run moves it; a pair at random is moved by none.
    taken, shift = mean[was_run], moved[was_run]
    if not was_run.any():
        taken, shift = mean.mean(keepdims=True), numpy.zeros((1, len(mean)))
    held = taken.max()
    gain = numpy.zeros(len(mean))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        others = (taken[:, None] + shift * node).max(axis=0)
        gain += weight * numpy.maximum(mean + numpy.diag(moved) * node, others)
    return numpy.maximum(gain - held, expected_gain(mean, covariance, noise))


def observed(covariance: numpy.ndarray, pair: int, noise: float) -> numpy.ndarray:
    """Return the covariance (P, P) after a run of a pair, whatever it will say."""
    column = covariance[:, pair]
    return covariance - numpy.outer(column, column) / (column[pair] + noise)
