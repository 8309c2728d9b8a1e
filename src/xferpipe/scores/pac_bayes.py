"""PACTran-Gaussian: a PAC-Bayes bound on the loss of a linear classifier on the features.

With L the mean cross-entropy of multinomial logistic regression on the centred features, a
Gaussian prior of variance s2 = 100 / d on its d c weights and b = n, the bound at the best
Gaussian posterior is

    L(W) + |W|_F^2 / (2 b s2) + d c / (2 b) log(1 + b s2 Tr(H) / (d c))

at the W that minimises the first two terms, Tr(H) = mean_i |x_i|^2 sum_k p_ik (1 - p_ik). The score
is the negated bound, in nats.

Undefined: fewer than two images or classes, constant or not finite features.
Source: Ding et al., ECCV 2022; s2 and b are ours, where it searches a grid.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import checked
from xferpipe.scores.logistic import fit
from xferpipe.scores.spectrum import Spectrum, centred_spectrum

PRIOR = 100.0


def pactran(features: Any, labels: Any, spectrum: Spectrum | None = None) -> float:
    """Return the negated PAC-Bayes bound.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
        spectrum: Spectrum of the centred features, where it is at hand.
    Returns:
        Minus the bound, in nats.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    n, d = features.shape
    classes = int(labels.max()) + 1
    prior = PRIOR / d
    minimum, variance = fit(spectrum or centred_spectrum(features), labels, penalty=1 / prior)
    squares = ((features - features.mean(axis=0)) ** 2).sum(axis=1)
    trace = (squares * variance.sum(axis=1)).mean()
    weights = d * classes
    complexity = weights / (2 * n) * numpy.log1p(n * prior * trace / weights)
    return -float(minimum / n + complexity)
