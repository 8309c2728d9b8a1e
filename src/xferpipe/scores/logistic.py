"""Multinomial logistic regression at its one minimum, which a penalty on the weights makes."""

from __future__ import annotations

import numpy
from scipy.optimize import minimize


def fit(
    features: numpy.ndarray, labels: numpy.ndarray, classes: int, penalty: float
) -> tuple[numpy.ndarray, float]:
    """Minimise sum_i -log softmax(x_i W + b)_{y_i} + penalty |W|_F^2 / 2.

    Args:
        features: float64 (n, d).
        labels: Dense labels (n).
        classes: Number of classes c, those without an image included.
        penalty: Weight of the squared weights; the intercepts are free.
    Returns:
        W and, as the last row, b (d + 1, c); the minimum.
    """
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
        gradient = numpy.vstack([features.T @ error + penalty * table[:d], error.sum(axis=0)])
        return loss + penalty / 2 * (table[:d] ** 2).sum(), gradient.ravel()

    start = numpy.zeros((d + 1) * classes)
    options = {"maxiter": 1000, "maxfun": 2000, "gtol": 1e-4, "ftol": 1e-12}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(d + 1, classes), float(found.fun)


def spanned(features: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray | None]:
    """Rotate features (n, d) with d > n into the n directions that they span.

    The penalty keeps the weights within that span, so the minimum is the same and the fit smaller.

    Returns:
        The features (n, min(n, d)); the basis (d, n), or None where nothing was rotated.
    """
    if features.shape[0] >= features.shape[1]:
        return features, None
    basis = numpy.linalg.qr(features.T)[0]
    return features @ basis, basis
