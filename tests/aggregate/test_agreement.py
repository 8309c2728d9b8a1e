"""Rank agreement against scipy, and the closed forms over orders against every order."""

from __future__ import annotations

import itertools

import numpy
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe.aggregate import agreement as stats
from xferpipe.aggregate.orders import best_of_first, sum_of_first, trials_to_best

#: Small integers: ties are the hard part.
pairs = st.integers(3, 9).flatmap(
    lambda m: st.tuples(*[st.lists(st.integers(0, 4), min_size=m, max_size=m)] * 2)
)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_statistics_with_ties_are_those_of_scipy(pair) -> None:
    x, y = (numpy.array(values, float) for values in pair)
    if numpy.ptp(x) == 0 or numpy.ptp(y) == 0:
        assert all(numpy.isnan(getattr(stats, s)(x[None], y[None])[0]) for s in stats.STATISTICS)
        return
    expected = {
        "spearman": scipy.stats.spearmanr(x, y).statistic,
        "kendall": scipy.stats.kendalltau(x, y).statistic,
        "weighted_kendall": scipy.stats.weightedtau(x, y).statistic,
        "pearson": scipy.stats.pearsonr(x, y).statistic,
    }
    for name, value in expected.items():
        assert getattr(stats, name)(x[None], y[None])[0] == pytest.approx(value, abs=1e-9), name


def test_statistics_of_many_draws_are_those_of_each() -> None:
    x, y = numpy.random.default_rng(0).integers(0, 5, (2, 400, 40)).astype(float)
    for name in stats.STATISTICS:
        statistic = getattr(stats, name)
        each = [statistic(a[None], b[None])[0] for a, b in zip(x, y, strict=True)]
        numpy.testing.assert_allclose(statistic(x, y), each, rtol=1e-12)


def test_agreement_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = numpy.random.default_rng(0)
    truth = 6 / numpy.pi * numpy.arcsin(0.6 / 2)
    hits = 0
    for trial in range(120):
        x, noise = generator.standard_normal((2, 60))
        y = 0.6 * x + 0.8 * noise
        draws = stats.draws_of_models(60, 200, trial)
        low, high = stats.interval(stats.spearman(x[draws], y[draws]), 0.9)
        hits += low <= truth <= high
    # 120 trials at 90 %: 108 expected, deviation 3.3.
    assert 96 <= hits <= 118


@pytest.mark.parametrize(
    ("score", "metric", "reason"),
    [
        ([1, 2], [1, 2], "at least 3"),
        ([1, 1, 1], [1, 2, 3], "score is the same"),
        ([1, 2, 3], [1, 1, 1], "metric is the same"),
    ],
)
def test_agreement_that_says_nothing_is_null_with_a_reason(score, metric, reason) -> None:
    draws = stats.draws_of_models(len(score), 50, 0)
    found = stats.agreement(numpy.array(score, float), numpy.array(metric, float), draws, 0.95)
    assert reason in found.reason
    assert set(found.values.values()) == {(None, None, None)}


def every_order(score: list[float]):
    """Yield each order of the models that the score allows, equally often."""
    for order in itertools.permutations(range(len(score))):
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order)):
            yield list(order)


tied = st.integers(1, 6).flatmap(
    lambda m: st.tuples(*[st.lists(st.integers(0, 2), min_size=m, max_size=m)] * 3)
)


@settings(max_examples=60, deadline=None)
@given(tied)
def test_expectations_with_ties_are_means_over_every_order(values) -> None:
    score, metric, cost = (numpy.array(v, float) for v in values)
    orders = list(every_order(list(score)))
    m = len(score)
    best = [[metric[order[: k + 1]].max() for k in range(m)] for order in orders]
    spent = [[cost[order[: k + 1]].sum() for k in range(m)] for order in orders]
    trials = [1 + metric[order].argmax() for order in orders]
    numpy.testing.assert_allclose(best_of_first(metric, score), numpy.mean(best, axis=0))
    numpy.testing.assert_allclose(sum_of_first(cost, score), numpy.mean(spent, axis=0))
    assert trials_to_best(metric, score) == pytest.approx(numpy.mean(trials))


def test_best_of_first_by_another_key_reports_the_metric_of_the_chosen() -> None:
    metric, validation = numpy.array([0.9, 0.5, 0.7]), numpy.array([0.1, 0.3, 0.2])
    found = best_of_first(metric, numpy.zeros(3), validation)
    # Of two, validation picks 0.5 over 0.9, 0.7 over 0.9 and 0.5 over 0.7; of all, 0.5.
    numpy.testing.assert_allclose(found, [0.7, (0.5 + 0.7 + 0.5) / 3, 0.5])
