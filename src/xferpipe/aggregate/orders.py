"""Closed forms over orders of models: what fine-tuning the first k brings, ties included.

A score orders models; models with equal scores come in random order, and every figure is the mean
over those orders. A score equal for all models is the random order, so `random` needs no code of
its own: E[best of k of M] = sum_j a_(j) C(j-1, k-1) / C(M, k), a ascending.
"""

from __future__ import annotations

from math import comb

import numpy


def best_of_first(metric: numpy.ndarray, score: numpy.ndarray, key: numpy.ndarray | None = None):
    """Return the expected metric of the best of the first k models in score order.

    Args:
        metric: What each model reaches, float (m).
        score: Higher comes first, float (m).
        key: What "best" is judged by, float (m); unset: the metric itself.
    Returns:
        Expectations for k = 1..m, float (m).
    """
    key = metric if key is None else key
    rank = numpy.argsort(numpy.argsort(key, kind="stable"), kind="stable")
    result = []
    done = numpy.zeros(len(metric), dtype=bool)
    for group in _groups(score):
        by_rank = group[numpy.argsort(rank[group])]
        best = numpy.flatnonzero(done)[rank[done].argmax()] if done.any() else None
        for k in range(1, len(group) + 1):
            expected = 0.0
            for j, model in enumerate(by_rank, start=1):
                winner = model if best is None or rank[model] > rank[best] else best
                expected += metric[winner] * comb(j - 1, k - 1) / comb(len(group), k)
            result.append(expected)
        done[group] = True
    return numpy.array(result)


def sum_of_first(cost: numpy.ndarray, score: numpy.ndarray) -> numpy.ndarray:
    """Return the expected sum of `cost` (m) over the first k models in score order, k = 1..m."""
    result, total = [], 0.0
    for group in _groups(score):
        share = cost[group].mean()
        result.extend(total + share * k for k in range(1, len(group) + 1))
        total += cost[group].sum()
    return numpy.array(result)


def trials_to_best(metric: numpy.ndarray, score: numpy.ndarray) -> float:
    """Return the expected number of fine-tunes, in score order, until the best model is among them.

    Args:
        metric: What each model reaches, float (m).
        score: Higher comes first, float (m).
    Returns:
        The rank of the best model; of several equally good ones, of the first.
    """
    best = metric == metric.max()
    before = 0
    for group in _groups(score):
        hits = int(best[group].sum())
        if hits:
            return before + (len(group) + 1) / (hits + 1)
        before += len(group)
    raise ValueError("metric has no maximum: it holds NaN")


def _groups(score: numpy.ndarray) -> list[numpy.ndarray]:
    """Return the models of each score, highest score first."""
    return [numpy.flatnonzero(score == value) for value in numpy.unique(score)[::-1]]
