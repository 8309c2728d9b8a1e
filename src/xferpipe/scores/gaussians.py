"""A mixture of Gaussians with full covariances, for few points in many dimensions.

The fit is scikit-learn's: one k-means start, then expectation and maximisation with 1e-6 added to
each covariance's diagonal, until the mean log likelihood moves by less than 1e-3 or for 100 rounds.
A library keeps every covariance (k, k), which is gigabytes for hundreds of components in a thousand
dimensions. Here a component with fewer points than dimensions is kept as the directions that its
points span: across them, its variance is the 1e-6 alone.
"""

from __future__ import annotations

import numpy
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.special import logsumexp
from sklearn.cluster import KMeans

from xferpipe.scores.inputs import Undefined

ADDED_VARIANCE = 1e-6
TOLERANCE = 1e-3
ROUNDS = 100
_TOGETHER = 16

#: A component, its variances (r) and the directions that they lie along (r, k).
Span = tuple[int, numpy.ndarray, numpy.ndarray]


def posterior(points: numpy.ndarray, components: int, seed: int) -> numpy.ndarray:
    """Fit a mixture and return p(component | point).

    Args:
        points: float64 (n, k).
        components: Number of Gaussians m, at most n.
        seed: Seed of the k-means start, below 2**32.
    Returns:
        Fractions (n, m).
    Raises:
        Undefined: A covariance is singular to rounding.
    """
    state = numpy.random.RandomState(seed)
    labels = KMeans(components, n_init=1, random_state=state).fit(points).labels_
    theta, likelihood = numpy.eye(components)[labels], -numpy.inf
    for _ in range(ROUNDS):
        before = likelihood
        theta, likelihood = _round(points, theta)
        if abs(likelihood - before) < TOLERANCE:
            break
    return _round(points, theta)[0]


def _round(points: numpy.ndarray, theta: numpy.ndarray) -> tuple[numpy.ndarray, float]:
    """Maximise for the posteriors theta (n, m), then return new ones and the mean likelihood."""
    counts = theta.sum(axis=0) + 10 * numpy.finfo(numpy.float64).eps
    means = theta.T @ points / counts[:, None]
    k = points.shape[1]
    # Twice the negated log density; |x - mean|^2 is where a component that spans nothing starts.
    minus = (points**2).sum(axis=1)[:, None] + (means**2).sum(axis=1) - 2 * points @ means.T
    spans = []
    for component, mean in enumerate(means):
        held = theta[:, component] > 0
        root = numpy.sqrt(theta[held, component, None] / counts[component])
        inner = (points[held] - mean) * root
        if len(inner) >= k:
            minus[:, component] = _by_covariance(points, mean, inner)
        else:
            spans.append((component, *_span(inner)))
    # One product for several components: each alone has too few directions to keep a core busy.
    for start in range(0, len(spans), _TOGETHER):
        _by_spans(points, means, spans[start : start + _TOGETHER], minus)
    joint = numpy.log(counts / counts.sum()) - (minus + k * numpy.log(2 * numpy.pi)) / 2
    likelihood = logsumexp(joint, axis=1, keepdims=True)
    return numpy.exp(joint - likelihood), float(likelihood.mean())


def _span(inner: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the variances (r) and directions (r, k) of weighted, centred points (r, k)."""
    _, values, directions = numpy.linalg.svd(inner, full_matrices=False)
    return values**2, directions


def _by_spans(
    points: numpy.ndarray, means: numpy.ndarray, spans: list[Span], minus: numpy.ndarray
) -> None:
    """Turn the columns of some components from |x - mean|^2 into twice the negated log density."""
    sizes = [len(variance) for _, variance, _ in spans]
    every = numpy.vstack([directions for _, _, directions in spans])
    owner = numpy.repeat([component for component, _, _ in spans], sizes)
    along = (points @ every.T - (every * means[owner]).sum(axis=1)) ** 2
    for (component, variance, _), end in zip(spans, numpy.cumsum(sizes), strict=True):
        own = along[:, end - len(variance) : end]
        covered = own @ (variance / (variance + ADDED_VARIANCE))
        outside = (points.shape[1] - len(variance)) * numpy.log(ADDED_VARIANCE)
        minus[:, component] = (minus[:, component] - covered) / ADDED_VARIANCE
        minus[:, component] += numpy.log(variance + ADDED_VARIANCE).sum() + outside


def _by_covariance(
    points: numpy.ndarray, mean: numpy.ndarray, inner: numpy.ndarray
) -> numpy.ndarray:
    """Return twice the negated log density, but for its constant, from the covariance itself."""
    covariance = inner.T @ inner
    covariance.flat[:: len(covariance) + 1] += ADDED_VARIANCE
    try:
        factor = cholesky(covariance, lower=True)
    except LinAlgError:
        raise Undefined("a covariance of the mixture is singular to rounding") from None
    white = solve_triangular(factor, (points - mean).T, lower=True)
    return (white**2).sum(axis=0) + 2 * numpy.log(numpy.diagonal(factor)).sum()
