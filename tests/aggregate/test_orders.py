"""The closed forms over orders against every order."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe.aggregate.orders import best_of_first, sum_of_first, trials_to_best


def every_order(score: list[float]):
    """Yield each order of the models that the score allows, equally often."""
    for order in itertools.permutations(range(len(score))):
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order)):
            yield list(order)


tied = st.integers(1, 6).flatmap(
    lambda m: st.tuples(*[st.lists(st.integers(0, 2), min_size=m, max_size=m)] * 4)
)


@settings(max_examples=150, deadline=None)
@given(tied)
def test_expectations_with_ties_are_means_over_every_order(values) -> None:
    score, metric, key, cost = (numpy.array(v, float) for v in values)
    metric += numpy.arange(len(metric)) / 7
    orders = list(every_order(list(score)))
    m = len(score)

    def chosen(order):
        """Average the metric of all that tie for the highest key."""
        first = numpy.array(order)
        return metric[first[key[first] == key[first].max()]].mean()

    best = [[chosen(order[: k + 1]) for k in range(m)] for order in orders]
    spent = [[cost[order[: k + 1]].sum() for k in range(m)] for order in orders]
    trials = [1 + key[order].argmax() for order in orders]
    found = best_of_first(metric[None], score, key[None])[0]
    numpy.testing.assert_allclose(found, numpy.mean(best, axis=0))
    numpy.testing.assert_allclose(sum_of_first(cost, score), numpy.mean(spent, axis=0))
    assert trials_to_best(key[None], score)[0] == pytest.approx(numpy.mean(trials))


def test_expectations_of_many_draws_are_those_of_each() -> None:
    generator = numpy.random.default_rng(0)
    metric, key = generator.integers(0, 4, (2, 50, 9)).astype(float)
    score = generator.integers(0, 4, 9).astype(float)
    each = [best_of_first(m[None], score, k[None])[0] for m, k in zip(metric, key, strict=True)]
    numpy.testing.assert_allclose(best_of_first(metric, score, key), each)
    each = [trials_to_best(k[None], score)[0] for k in key]
    numpy.testing.assert_allclose(trials_to_best(key, score), each)


def test_best_of_first_of_many_models_at_random_is_the_closed_form() -> None:
    """E[best of k of M] = sum_j a_(j) C(j - 1, k - 1) / C(M, k), with exact integers."""
    metric = numpy.sort(numpy.random.default_rng(0).random(60))
    for k in (1, 7, 30, 60):
        weight = [math.comb(j, k - 1) / math.comb(60, k) for j in range(60)]
        found = best_of_first(metric[None], numpy.zeros(60))[0, k - 1]
        assert found == pytest.approx(float(metric @ weight))


def test_best_of_first_by_another_key_reports_the_metric_of_the_chosen() -> None:
    metric, validation = numpy.array([[0.9, 0.5, 0.7]]), numpy.array([[0.1, 0.3, 0.2]])
    found = best_of_first(metric, numpy.zeros(3), validation)[0]
    # Of two, validation picks 0.5 over 0.9, 0.7 over 0.9 and 0.5 over 0.7; of all, 0.5.
    numpy.testing.assert_allclose(found, [0.7, (0.5 + 0.7 + 0.5) / 3, 0.5])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_best_of_first_of_models_that_validate_alike_does_not_depend_on_their_places(order) -> None:
    metric = numpy.array([[0.9, 0.5, 0.7]])[:, order]
    found = best_of_first(metric, numpy.zeros(3), numpy.ones((1, 3)))[0]
    numpy.testing.assert_allclose(found, [0.7, 0.7, 0.7])
