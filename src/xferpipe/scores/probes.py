"""Linear probe: accuracy of a linear classifier on features it was not fitted to.

Five folds within the probe images, dealt out class by class. Features are standardised by the
fitted part; the classifier is multinomial logistic regression with a squared penalty,

    sum_i -log softmax(x_i W + b)_{y_i} + |W|_F^2 / 2

at its one minimum. A fraction.

Undefined: fewer than two images or classes, constant or not finite features, no class with two
images.
Source: Alain and Bengio, arXiv 1610.01644.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import Undefined, checked, one_hot

FOLDS = 5


def folds_of(labels: numpy.ndarray) -> numpy.ndarray:
    """Deal dense labels (n) into folds: the i-th image of a class goes to fold i mod 5."""
    order = numpy.argsort(labels, kind="stable")
    starts = numpy.searchsorted(labels[order], labels[order])
    folds = numpy.empty(len(labels), dtype=int)
    folds[order] = (numpy.arange(len(labels)) - starts) % FOLDS
    return folds


def fit(features: numpy.ndarray, labels: numpy.ndarray, classes: int) -> numpy.ndarray:
    """Fit multinomial logistic regression with a squared penalty on the weights.

    Args:
        features: float64 (n, d).
        labels: Dense labels (n).
        classes: Number of classes, those without an image included.
    Returns:
        Weights and, in the last row, the intercepts (d + 1, c).
    """
    from scipy.optimize import minimize

    n, d = features.shape
    hot = numpy.eye(classes)[labels]

    def loss_and_gradient(flat: numpy.ndarray) -> tuple[float, numpy.ndarray]:
        table = flat.reshape(d + 1, classes)
        scores = features @ table[:d] + table[d]
        scores -= scores.max(axis=1, keepdims=True)
        exponentials = numpy.exp(scores)
        totals = exponentials.sum(axis=1, keepdims=True)
        loss = (numpy.log(totals[:, 0]) - scores[numpy.arange(n), labels]).sum()
        error = exponentials / totals - hot
        gradient = numpy.vstack([features.T @ error + table[:d], error.sum(axis=0)])
        return loss + 0.5 * (table[:d] ** 2).sum(), gradient.ravel()

    start = numpy.zeros((d + 1) * classes)
    options = {"maxiter": 1000, "gtol": 1e-4, "ftol": 1e-12}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(d + 1, classes)


def _right(features: Any, labels: Any) -> numpy.ndarray:
    """Tell for each image whether the classifier fitted to the other folds is right (n)."""
    features, labels = checked(features, labels)
    folds = folds_of(labels)
    if not (folds > 0).any():
        raise Undefined("no class has two probe images")
    classes = one_hot(labels).shape[1]
    right = numpy.zeros(len(labels), dtype=bool)
    for fold in numpy.unique(folds):
        held = folds == fold
        mean = features[~held].mean(axis=0)
        scale = features[~held].std(axis=0)
        scale[scale == 0] = 1
        fitted = (features[~held] - mean) / scale
        tested = (features[held] - mean) / scale
        if fitted.shape[0] < fitted.shape[1]:
            # The penalty keeps the weights within the span of the fitted images.
            basis = numpy.linalg.qr(fitted.T)[0]
            fitted, tested = fitted @ basis, tested @ basis
        table = fit(fitted, labels[~held], classes)
        right[held] = (tested @ table[:-1] + table[-1]).argmax(axis=1) == labels[held]
    return right


def linear_probe(features: Any, labels: Any) -> float:
    """Return the five-fold accuracy of logistic regression on standardised features.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
    Returns:
        A fraction.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    return float(_right(features, labels).mean())


def linear_probe_draws(features: Any, labels: Any, counts: numpy.ndarray) -> numpy.ndarray:
    """Return the accuracy over the images of every bootstrap draw; `counts` (b, n).

    The classifiers stay as fitted: in a draw, an image's copies could be on both sides of a fold.
    """
    return counts @ _right(features, labels) / counts.sum(axis=1)
