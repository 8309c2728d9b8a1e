"""Accuracy on images left out of a probe, one of every class at a time, and its interval.

Leaving out single images handicaps the very class that is asked for: one image less than the
others lowers its intercept, and a classifier without signal falls below chance (to 0 for many
classes). With one image of every class in a fold, classes that are equally large stay so.
"""

from __future__ import annotations

import numpy
from scipy.stats import norm

from xferpipe.scores.inputs import Undefined

#: Variance of the accuracy of a probe over that of as many independent outcomes. The outcomes share
#: their training images, and no estimate of what that adds is unbiased (Bengio and Grandvalet,
#: JMLR 2004): simulated with Gaussian classes it is 1.0 to 1.8 (docs/scores.md).
DESIGN_EFFECT = 1.4


def folds_of(labels: numpy.ndarray) -> numpy.ndarray:
    """Deal images to as many folds as the largest class has images, in their order.

    Args:
        labels: Dense labels (n).
    Returns:
        Fold of each image, integer (n). A fold has at most one image of a class; the images of a
        smaller class are spread over the folds.
    Raises:
        Undefined: Every class has one image, so that nothing is left beside the fold.
    """
    counts = numpy.bincount(labels)
    if counts.max() < 2:
        raise Undefined("every class has one image; none is left to learn from")
    position = numpy.empty(len(labels), dtype=numpy.int64)
    for label, count in enumerate(counts):
        position[labels == label] = numpy.arange(count)
    return (2 * position + 1) * counts.max() // (2 * counts[labels])


def accuracy_interval(
    right: numpy.ndarray,
    right_of_halves: numpy.ndarray,
    folds: numpy.ndarray,
    confidence: float,
) -> tuple[float, float]:
    """Lay an interval around the accuracy that a probe of this size has on other images.

    It is of the mean over probes: drawn anew with as many images of each class, learnt from whole,
    and tried on further images of these classes in the same shares. The fold that is left out
    makes training sets smaller; what that costs is taken from the learning curve, a straight
    line in 1 / images through the folds and the halves. The interval is Wilson's, which has a width
    where all outcomes are equal, for as many outcomes as `DESIGN_EFFECT` and the line leave.

    Args:
        right: Whether each image is right when its fold is left out (n).
        right_of_halves: The same when all folds of its parity are left out (n).
        folds: Fold of each image (n).
        confidence: Level of the interval.
    Returns:
        Its ends, fractions; the accuracy of `right` lies between.
    """
    n, value = len(right), float(right.mean())
    near, far = (1 / (n - numpy.bincount(g)[g].mean()) for g in (folds, folds % 2))
    lever = (near - 1 / n) / (far - near) if far - near > 1e-9 * far else 0.0
    whole = (1 + lever) * right - lever * right_of_halves
    middle = min(max(float(whole.mean()), 0.0), 1.0)
    # Small probes lie far from the halves' end of the line, which makes the outcomes noisier.
    noise = max(float(whole.var() / right.var()), 1.0) if right.any() and not right.all() else 1.0
    z = norm.ppf((1 + confidence) / 2)
    share = z**2 * DESIGN_EFFECT * noise / n
    centre = (middle + share / 2) / (1 + share)
    reach = numpy.sqrt(share * (middle * (1 - middle) + share / 4)) / (1 + share)
    # At 0 and 1 the two halves cancel but for rounding.
    low, high = max(centre - reach, 0.0), min(centre + reach, 1.0)
    return float(min(low, value)), float(max(high, value))
