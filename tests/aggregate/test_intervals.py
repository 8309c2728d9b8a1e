"""Intervals of correlations: simulated coverage, ties, and the ends of the scale."""

from __future__ import annotations

import math

import numpy
import pytest

from xferpipe.aggregate import agreement as stats
from xferpipe.aggregate.agreement import STATISTICS, agreement
from xferpipe.aggregate.intervals import information, interval

#: Population values for normal figures correlated by r; the weighted tau has no closed form.
TRUTH = {
    "spearman": lambda r: 6 / math.pi * math.asin(r / 2),
    "kendall": lambda r: 2 / math.pi * math.asin(r),
    "pearson": lambda r: r,
}


@pytest.mark.parametrize("models", [5, 6, 8, 12, 30])
@pytest.mark.parametrize("r", [0.0, 0.5, 0.8, 0.95])
def test_interval_covers_the_truth_at_least_as_often_as_it_says(models, r) -> None:
    generator = numpy.random.default_rng(models)
    x, noise = generator.standard_normal((2, 600, models))
    y = r * x + math.sqrt(1 - r * r) * noise
    for name in STATISTICS:
        values = getattr(stats, name)(x, y)
        # An expectation at this number of models: the weights of the weighted tau depend on it.
        truth = TRUTH[name](r) if name in TRUTH else values.mean()
        ends = [interval(name, float(value), models, 0.95) for value in values]
        covered = numpy.mean([low <= truth <= high for low, high in ends])
        # 600 trials: deviation 0.009. Kendall and its weighted form are a little short at 0.95.
        floor = 0.93 if name in ("spearman", "pearson") else 0.88
        assert floor <= covered, (name, covered)


@pytest.mark.parametrize(("models", "high"), [(6, 3), (8, 4), (12, 3), (20, 10), (40, 20)])
def test_interval_of_a_two_valued_score_without_worth_rarely_excludes_zero(models, high) -> None:
    generator = numpy.random.default_rng(models)
    score = (numpy.arange(models) < high).astype(float)
    wrong = dict.fromkeys(STATISTICS, 0)
    for _ in range(300):
        found = agreement(score, generator.standard_normal(models), 0.95)
        for name, (_, low, upper) in found.values.items():
            wrong[name] += low is not None and (low > 0 or upper < 0)
    # 300 trials at 5 %: 15 expected at most, deviation 3.8.
    assert all(count <= 30 for count in wrong.values()), wrong


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("models", [5, 8, 20])
def test_interval_of_a_perfect_order_has_width_and_holds_the_value(name, models) -> None:
    low, high = interval(name, 1.0, models, 0.95)
    assert low < 0.998
    assert high == 1.0
    assert interval(name, -1.0, models, 0.95) == pytest.approx((-high, -low))


def test_interval_is_the_published_closed_form() -> None:
    """By hand: Spearman 0.6 over 12 models, z = 0.693, se = sqrt(1.18 / 9) = 0.362."""
    low, high = interval("spearman", 0.6, 12, 0.95)
    assert low == pytest.approx(math.tanh(0.6931 - 1.96 * 0.3621), abs=1e-3)
    assert high == pytest.approx(math.tanh(0.6931 + 1.96 * 0.3621), abs=1e-3)
    # Kendall 0.4: se = sqrt(0.437 / 8); Pearson 0.6: 1 / 3.
    low, _ = interval("kendall", 0.4, 12, 0.95)
    assert low == pytest.approx(math.tanh(math.atanh(0.4) - 1.96 * math.sqrt(0.437 / 8)), abs=1e-3)
    low, _ = interval("pearson", 0.6, 12, 0.95)
    assert low == pytest.approx(math.tanh(0.6931 - 1.96 / 3), abs=1e-3)


def test_information_of_tied_ranks_is_their_variance_over_that_of_all_ranks() -> None:
    half = numpy.array([0, 0, 0, 1, 1, 1.0])
    ranks = numpy.array([2, 2, 2, 5, 5, 5.0])
    assert information(half) == pytest.approx(ranks.var() / numpy.arange(1, 7).var())
    assert information(numpy.arange(6.0)) == 1
    assert information(half, half) == pytest.approx(information(half) ** 2)
