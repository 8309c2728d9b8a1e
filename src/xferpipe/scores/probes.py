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
from xferpipe.scores.logistic import fit, spanned

FOLDS = 5


def folds_of(labels: numpy.ndarray) -> numpy.ndarray:
    """Deal dense labels (n) into folds: the i-th image of a class goes to fold i mod 5."""
    order = numpy.argsort(labels, kind="stable")
    starts = numpy.searchsorted(labels[order], labels[order])
    folds = numpy.empty(len(labels), dtype=int)
    folds[order] = (numpy.arange(len(labels)) - starts) % FOLDS
    return folds


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
        fitted, basis = spanned(fitted)
        tested = tested if basis is None else tested @ basis
        table, _ = fit(fitted, labels[~held], classes, penalty=1.0)
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
