"""Linear probe: accuracy of a linear classifier on images it has not learnt from.

The classifier is ridge regression from centred features, each scaled to deviation 1, to one-hot
labels, with a free intercept; an image's class is the largest output of the fit without its fold,
which holds one image of every class (`held_out`). That fit needs no refitting: with H the hat
matrix and E the residuals, the errors of a fold without it are (I - H_ff)^-1 E_f. The penalty is
the one of 10^-4 ... 10^4 times the mean squared singular value whose held-out squared error is
least (the largest of equals). A fraction.

Undefined: fewer than two images or classes, one image in every class, constant or not finite
features.
Source: Alain and Bengio, arXiv 1610.01644, for the probe; Allen, Technometrics 1974 (PRESS), for
leaving out without refitting. Ridge takes the place of logistic regression: it has no stopping
rule.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.held_out import accuracy_interval, folds_of
from xferpipe.scores.inputs import checked, one_hot
from xferpipe.scores.representation import zscored
from xferpipe.scores.spectrum import spectrum_of

PENALTIES = 10.0 ** numpy.arange(-4, 5)


def _held_out_errors(
    basis: numpy.ndarray, kept: numpy.ndarray, hot: numpy.ndarray, groups: numpy.ndarray
) -> numpy.ndarray:
    """Return the errors of the fits without each group of images (n, c).

    Args:
        basis: Left singular vectors of the features (n, k).
        kept: Share of each that the penalty leaves (k).
        hot: One-hot labels (n, c).
        groups: Group of each image (n).
    """
    residual = hot - hot.mean(axis=0) - basis @ (kept[:, None] * (basis.T @ hot))
    error = numpy.empty_like(hot)
    for group in range(groups.max() + 1):
        rows = numpy.flatnonzero(groups == group)
        hat = 1 / len(hot) + (basis[rows] * kept) @ basis[rows].T
        error[rows] = numpy.linalg.solve(numpy.eye(len(rows)) - hat, residual[rows])
    return error


def _right(features: Any, labels: Any, halves: bool = False) -> list[numpy.ndarray]:
    """Tell for each image whether the classifier without its fold names its class (n).

    Returns:
        That; with `halves`, the same of the classifier without all folds of its parity, at the
        same penalty; the folds.
    """
    features, labels = checked(features, labels)
    folds = folds_of(labels)
    sigma, basis = spectrum_of(zscored(features))
    hot = one_hot(labels)
    best, kept, error = numpy.inf, sigma, hot
    for penalty in PENALTIES[::-1] * sigma.mean():
        tried = sigma / (sigma + penalty)
        errors = _held_out_errors(basis, tried, hot, folds)
        squared = (errors**2).sum()
        if squared < best:
            best, kept, error = squared, tried, errors
    errors = [error] + ([_held_out_errors(basis, kept, hot, folds % 2)] if halves else [])
    return [*((hot - each).argmax(axis=1) == labels for each in errors), folds]


def linear_probe(features: Any, labels: Any) -> float:
    """Return the held-out accuracy of a ridge classifier on standardised features.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n). The k-th images of all classes are left out together.
    Returns:
        A fraction.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    return float(_right(features, labels)[0].mean())


def linear_probe_interval(features: Any, labels: Any, confidence: float) -> tuple[float, float]:
    """Return an interval of the accuracy that probes of this size have on other images.

    Args:
        features, labels: As for `linear_probe`.
        confidence: Level of the interval.
    Returns:
        Its ends, fractions; see `held_out.accuracy_interval`.
    """
    return accuracy_interval(*_right(features, labels, halves=True), confidence)
