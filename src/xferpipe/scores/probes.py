"""Linear probe: leave-one-out accuracy of a linear classifier on the features.

The classifier is ridge regression from centred features, each scaled to deviation 1, to one-hot
labels, with a free intercept; an image's class is the largest output of the fit to all other
images. That fit needs no refitting: with h_i the image's leverage and e_i its residual, the error
of the fit without it is e_i / (1 - h_i). The penalty is the one of 10^-4 ... 10^4 times the mean
squared singular value whose leave-one-out squared error is least (the largest of equals). A
fraction.

Undefined: fewer than two images or classes, constant or not finite features.
Source: Alain and Bengio, arXiv 1610.01644, for the probe; Allen, Technometrics 1974 (PRESS), for
leaving one out. Ridge takes the place of logistic regression: it has no stopping rule.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import checked, one_hot
from xferpipe.scores.representation import zscored
from xferpipe.scores.spectrum import spectrum_of

PENALTIES = 10.0 ** numpy.arange(-4, 5)


def _right(features: Any, labels: Any) -> numpy.ndarray:
    """Tell for each image whether the classifier of all others names its class (n)."""
    features, labels = checked(features, labels)
    n = len(labels)
    sigma, basis = spectrum_of(zscored(features))
    hot = one_hot(labels)
    along = basis.T @ hot
    best, right = numpy.inf, None
    for penalty in PENALTIES[::-1] * sigma.mean():
        kept = sigma / (sigma + penalty)
        leverage = 1 / n + (basis**2) @ kept
        fitted = hot.mean(axis=0) + basis @ (kept[:, None] * along)
        # An image that no other one says anything about has leverage 1 and an endless error.
        error = (hot - fitted) / numpy.maximum(1 - leverage, 1e-12)[:, None]
        squared = (error**2).sum()
        if squared < best:
            best, right = squared, (hot - error).argmax(axis=1) == labels
    return right


def linear_probe(features: Any, labels: Any) -> float:
    """Return the leave-one-out accuracy of a ridge classifier on standardised features.

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

    The classifiers stay as fitted: in a draw, an image's copies would teach its own class.
    """
    return counts @ _right(features, labels) / counts.sum(axis=1)
