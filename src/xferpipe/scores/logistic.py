"""Multinomial logistic regression at its one minimum, which a penalty on the weights makes."""

from __future__ import annotations

from typing import NamedTuple

import numpy

from xferpipe.scores.spectrum import Spectrum

#: What a further step may win, as a part of the loss.
_ENOUGH = 1e-13
_STEPS, _INNER_STEPS = 200, 1000
#: Unknowns up to which the curvature is one matrix, solved in one go.
_DENSE = 400


class Fit(NamedTuple):
    """The minimum of the penalised loss, and p (1 - p) of each image and class there (n, c)."""

    minimum: float
    variance: numpy.ndarray


class _State(NamedTuple):
    """What a table of weights gives: loss, p (n, c), 1 - p (n, c), and p less the labels (n, c)."""

    loss: float
    chance: numpy.ndarray
    others: numpy.ndarray
    error: numpy.ndarray


def fit(spectrum: Spectrum, labels: numpy.ndarray, penalty: float) -> Fit:
    """Minimise sum_i -log softmax(x_i W + b)_{y_i} + penalty |W|_F^2 / 2.

    Newton's steps along the principal directions of the features, each solved by conjugate
    gradients in directions of one curvature: those of the features may differ by 10^12, and the
    loss of classes that are far apart by as much from step to step.

    Args:
        spectrum: Spectrum of the centred features x (n, d).
        labels: Dense labels (n).
        penalty: Weight of the squared weights; the intercepts b are free.
    """
    sigma, basis = spectrum
    points = numpy.hstack([basis * numpy.sqrt(sigma), numpy.ones((len(basis), 1))])
    squares = points**2
    ridge = numpy.append(numpy.full(len(sigma), penalty), 0.0)[:, None]
    weights = numpy.zeros((points.shape[1], labels.max() + 1))
    state = _state(points, labels, ridge, weights)
    for _ in range(_STEPS):
        gradient = points.T @ state.error + ridge * weights
        variance = state.chance * state.others
        curvature = squares.T @ variance + ridge
        # Where all chances are 0 or 1, the intercepts have no curvature left.
        curvature = numpy.maximum(curvature, numpy.finfo(float).tiny)
        step = _newton_step(points, ridge, state, curvature, gradient)
        won = float((gradient * step).sum())
        size, tried = 1.0, _state(points, labels, ridge, weights - step)
        while tried.loss > state.loss - 1e-4 * size * won and size > 1e-10:
            size /= 2
            tried = _state(points, labels, ridge, weights - size * step)
        if not tried.loss < state.loss:
            break
        weights, state = weights - size * step, tried
        if won <= _ENOUGH * state.loss:
            break
    return Fit(state.loss, state.chance * state.others)


def _state(
    points: numpy.ndarray, labels: numpy.ndarray, ridge: numpy.ndarray, weights: numpy.ndarray
) -> _State:
    """Return loss and chances; 1 - p of the likeliest class is the sum of the others.

    Taken as a difference it would have no digits left where p is 1 but for 10^-12.
    """
    rows = numpy.arange(len(points))
    logits = points @ weights
    top = logits.argmax(axis=1)
    logits -= logits[rows, top][:, None]
    raw = numpy.exp(logits)
    raw[rows, top] = 0
    rest = raw.sum(axis=1)
    raw[rows, top] = 1
    chance = raw / (1 + rest)[:, None]
    others = 1 - chance
    others[rows, top] = rest / (1 + rest)
    error = chance.copy()
    error[rows, labels] = -others[rows, labels]
    loss = (ridge * weights**2).sum() / 2 + (numpy.log1p(rest) - logits[rows, labels]).sum()
    return _State(float(loss), chance, others, error)


def _newton_step(
    points: numpy.ndarray,
    ridge: numpy.ndarray,
    state: _State,
    curvature: numpy.ndarray,
    gradient: numpy.ndarray,
) -> numpy.ndarray:
    """Solve H s = gradient, with H the second derivatives of the loss and `curvature` its diagonal.

    Conjugate gradients, the further the nearer the minimum is; or at once where there are few
    unknowns.
    """
    if gradient.size <= _DENSE:
        return _dense_step(points, ridge, state, curvature, gradient)
    chance, others = state.chance, state.others

    def bent(table: numpy.ndarray) -> numpy.ndarray:
        moved = points @ table
        shares = chance * moved
        # p_k (m_k - sum_j p_j m_j), without the part of m_k in that sum.
        moved = chance * (others * moved - (shares.sum(axis=1, keepdims=True) - shares))
        return points.T @ moved + ridge * table

    step, left = numpy.zeros_like(gradient), gradient.copy()
    scaled = left / curvature
    along, square = scaled, float((left * scaled).sum())
    # Half the gradient's square in these directions is what the step wins, about.
    goal = square * min(1e-2, square / state.loss) if state.loss > 0 else 0.0
    goal = max(goal, 1e-10 * square)
    for _ in range(_INNER_STEPS):
        change = bent(along)
        bend = float((along * change).sum())
        if not bend > 0:
            break
        step += square / bend * along
        left -= square / bend * change
        scaled = left / curvature
        before, square = square, float((left * scaled).sum())
        if square <= goal:
            break
        along = scaled + square / before * along
    return step


def _dense_step(
    points: numpy.ndarray,
    ridge: numpy.ndarray,
    state: _State,
    curvature: numpy.ndarray,
    gradient: numpy.ndarray,
) -> numpy.ndarray:
    k, c = gradient.shape
    second = numpy.empty((c, k, c, k))
    for i in range(c):
        for j in range(c):
            other = state.others[:, i] if i == j else -state.chance[:, j]
            second[i, :, j, :] = (points * (state.chance[:, i] * other)[:, None]).T @ points
        second[i, range(k), i, range(k)] += ridge[:, 0]
    size = 1 / numpy.sqrt(curvature.T.ravel())
    matrix = second.reshape(c * k, c * k) * size[:, None] * size
    # A constant added to all intercepts changes nothing: there is no curvature along it.
    matrix.flat[:: c * k + 1] += 1e-14
    return (size * numpy.linalg.solve(matrix, size * gradient.T.ravel())).reshape(c, k).T
