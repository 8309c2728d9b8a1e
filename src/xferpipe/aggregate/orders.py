"""Closed forms over orders of models: what fine-tuning the first k brings, ties included.

A score orders models; models with equal scores come in random order, and every figure is the mean
over those orders. A score equal for all models is the random order, so `random` needs no code of
its own: E[best of k of M] = sum_j a_(j) C(j-1, k-1) / C(M, k), a ascending. Figures of models may
be given for many draws at once, a row each.
"""

from __future__ import annotations

from functools import cache

import numpy


def best_of_first(metric: numpy.ndarray, score: numpy.ndarray, key: numpy.ndarray | None = None):
    """Return the expected metric of the best of the first k models in score order.

    Args:
        metric: What each model reaches, float (b, m).
        score: Higher comes first, float (m).
        key: What "best" is judged by, float (b, m); unset: the metric itself. Of several models
            with the highest key, the figure is their mean.
    Returns:
        Expectations for k = 1..m, float (b, m).
    """
    key = metric if key is None else key
    draws = len(metric)
    # Of the models tried so far: the highest key, and the sum and count of the metrics with it.
    best, total, count = numpy.full(draws, -numpy.inf), numpy.zeros(draws), numpy.zeros(draws)
    result = []
    for group in _groups(score):
        keys, figures = key[:, group], metric[:, group]
        if len(group) > 1:
            order = numpy.argsort(keys, axis=1, kind="stable")
            keys = numpy.take_along_axis(keys, order, axis=1)
            figures = numpy.take_along_axis(figures, order, axis=1)
            result.append(_expected(keys, figures, best, total, count))
        top = keys[:, -1]
        tied = keys == top[:, None]
        total = (best >= top) * total + (best <= top) * (figures * tied).sum(axis=1)
        count = (best >= top) * count + (best <= top) * tied.sum(axis=1)
        best = numpy.maximum(best, top)
        if len(group) == 1:
            result.append((total / count)[:, None])
    return numpy.concatenate(result, axis=1)


def _expected(
    keys: numpy.ndarray,
    figures: numpy.ndarray,
    best: numpy.ndarray,
    total: numpy.ndarray,
    count: numpy.ndarray,
) -> numpy.ndarray:
    """Return the expected figure of the best after k = 1..g further models in random order (b, g).

    `keys` and `figures` (b, g) are sorted by key; `best`, `total` and `count` (b) tell of the
    models before.
    """
    size = keys.shape[1]
    places = numpy.arange(size)
    new = numpy.concatenate([numpy.ones((len(keys), 1), bool), keys[:, 1:] > keys[:, :-1]], axis=1)
    below = numpy.maximum.accumulate(numpy.where(new, places, 0), axis=1)
    last = numpy.concatenate([new[:, 1:], numpy.ones((len(keys), 1), bool)], axis=1)
    upto = numpy.minimum.accumulate(numpy.where(last, places + 1, size)[:, ::-1], axis=1)[:, ::-1]
    before = total / numpy.maximum(count, 1)
    reached = numpy.where(keys > best[:, None], figures, before[:, None])
    share = _shares(size)
    result = numpy.empty_like(figures)
    for k in range(1, size + 1):
        # Chance that this key is the highest of k, split among the models that share it.
        chance = (share[k][upto] - share[k][below]) / (upto - below)
        result[:, k - 1] = (chance * reached).sum(axis=1)
    for row in numpy.flatnonzero((keys == best[:, None]).any(axis=1)):
        tied = keys[row] == best[row]
        lower, mean = int((keys[row] < best[row]).sum()), float(figures[row][tied].mean())
        for k in range(1, size + 1):
            result[row, k - 1] += _tie_with_before(
                lower, int(tied.sum()), k, size, mean, total[row], count[row]
            )
    return result


def _tie_with_before(
    lower: int, tied: int, k: int, size: int, mean: float, total: float, count: float
) -> float:
    """Return what is added where k of `size` models hold some that tie with the best before them.

    Of j such models the figure is the mean of theirs and the ones before, (total + j mean) /
    (count + j), and not total / count.
    """
    from scipy.stats import hypergeom

    # None of the higher ones may be drawn: the draw is from the lower and the tied.
    only = _shares(size)[k][lower + tied]
    j = numpy.arange(1, min(k, tied) + 1)
    chance = only * numpy.nan_to_num(hypergeom.pmf(j, lower + tied, tied, k))
    return float((chance * ((total + j * mean) / (count + j) - total / count)).sum())


@cache
def _shares(size: int) -> numpy.ndarray:
    """Return the chance that k of `size` models all come from n of them: float (k, n), 0-based."""
    from scipy.special import gammaln

    n, k = numpy.arange(size + 1)[None, :], numpy.arange(size + 1)[:, None]
    with numpy.errstate(invalid="ignore"):
        log = gammaln(n + 1) - gammaln(n - k + 1) - gammaln(size + 1) + gammaln(size - k + 1)
    return numpy.where(n < k, 0.0, numpy.exp(numpy.where(n < k, 0.0, log)))


def sum_of_first(cost: numpy.ndarray, score: numpy.ndarray) -> numpy.ndarray:
    """Return the expected sum of `cost` (m) over the first k models in score order, k = 1..m."""
    result, total = [], 0.0
    for group in _groups(score):
        share = cost[group].mean()
        result.extend(total + share * k for k in range(1, len(group) + 1))
        total += cost[group].sum()
    return numpy.array(result)


def trials_to_best(key: numpy.ndarray, score: numpy.ndarray) -> numpy.ndarray:
    """Return the expected number of fine-tunes, in score order, until the best model is among them.

    Args:
        key: What "best" is judged by, float (b, m).
        score: Higher comes first, float (m).
    Returns:
        The rank of the best model, float (b); of several equally good ones, of the first.
    """
    best = key == key.max(axis=1, keepdims=True)
    before, result = 0, numpy.zeros(len(key))
    for group in _groups(score):
        hits = best[:, group].sum(axis=1)
        here = before + (len(group) + 1) / (hits + 1)
        result = numpy.where((result == 0) & (hits > 0), here, result)
        before += len(group)
    return result


def _groups(score: numpy.ndarray) -> list[numpy.ndarray]:
    """Return the models of each score, highest score first."""
    return [numpy.flatnonzero(score == value) for value in numpy.unique(score)[::-1]]
