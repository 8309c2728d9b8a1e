"""Rank agreement against scipy."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe.aggregate import agreement as stats

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


@pytest.mark.parametrize(
    ("score", "metric", "reason"),
    [
        ([1, 2], [1, 2], "at least 3"),
        ([1, 1, 1], [1, 2, 3], "score is the same"),
        ([1, 2, 3], [1, 1, 1], "metric is the same"),
    ],
)
def test_agreement_that_says_nothing_is_null_with_a_reason(score, metric, reason) -> None:
    found = stats.agreement(numpy.array(score, float), numpy.array(metric, float), 0.95)
    assert reason in found.reason
    assert set(found.values.values()) == {(None, None, None)}


@pytest.mark.parametrize(("models", "reason"), [(3, "needs at least 5"), (4, "at least 5")])
def test_agreement_of_few_models_has_values_and_no_interval(models, reason) -> None:
    found = stats.agreement(numpy.arange(models) + 0.0, numpy.arange(models) ** 2.0, 0.95)
    assert found.values["spearman"] == (1, None, None)
    assert reason in found.reason


def test_agreement_of_a_score_with_too_many_ties_has_no_interval() -> None:
    found = stats.agreement(numpy.array([0, 0, 0, 0, 0, 1.0]), numpy.arange(6.0), 0.95)
    assert found.values["spearman"][0] > 0
    assert found.values["spearman"][1:] == (None, None)
    assert "ties" in found.reason
