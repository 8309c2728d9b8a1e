"""Figures that differ by rounding alone are ties, wherever models are ordered by scores."""

from __future__ import annotations

import numpy
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferpipe.aggregate.pools import normalise_pools
from xferpipe.aggregate.score_ranking import mean_ranks, ranked
from xferpipe.aggregate.ties import merge_ties, merged
from xferpipe.config.scores import PRECISION
from xferpipe.scores.score_table import COLUMNS

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12).map(numpy.array)


def test_rounding_of_a_sum_is_no_difference():
    found = merged(numpy.array([3.0000000000000004, 2.9999999999999996, 3.0, 2.99]))
    assert set(found[:3]) == {2.9999999999999996}
    assert found[3] == 2.99


def test_what_is_no_number_stays():
    found = merged(numpy.array([-numpy.inf, 1.0, numpy.nan, 1.0 + 1e-12]))
    assert found[0] == -numpy.inf
    assert numpy.isnan(found[2])
    assert found[1] == found[3]
    assert numpy.isnan(merged(numpy.array([numpy.nan]))).all()


@given(numbers)
def test_order_stays_and_nothing_moves_further_than_rounding(values):
    found = merged(values)
    order = numpy.argsort(values, kind="stable")
    assert (numpy.diff(found[order]) >= 0).all()
    assert numpy.abs(found - values).max() <= PRECISION * len(values) * numpy.abs(values).max()
    assert (merged(found) == found).all()


@given(numbers, st.floats(1e-3, 1e3))
def test_ties_know_no_unit(values, unit):
    ties = merged(values)[:, None] == merged(values)
    scaled = merged(values * unit)
    gaps = numpy.diff(numpy.sort(values)) / max(numpy.abs(values).max(), 1e-300)
    if not ((gaps > 0.9 * PRECISION) & (gaps < 1.1 * PRECISION)).any():
        assert ((scaled[:, None] == scaled) == ties).all()


def test_groups_of_a_table_are_merged_apart_and_null_stays():
    table = polars.DataFrame(
        {"method": list("aaabbb"), "value": [1.0, 1.0 + 1e-12, None, 1.0 + 1e-12, 1e9, None]}
    )
    found = merge_ties(table, "value", ["method"])["value"].to_list()
    assert found == [1.0, 1.0, None, 1.0 + 1e-12, 1e9, None]


def scored(values: dict[str, float], method: str, variant: str = "") -> dict[str, polars.DataFrame]:
    return {
        model: polars.DataFrame(
            [{"method": method, "variant": variant, "value": value}], schema=COLUMNS
        )
        for model, value in values.items()
    }


def test_saturated_scores_rank_no_model_before_another():
    ranks = ranked(scored({"a": 3.0000000000000004, "b": 2.9999999999999996, "c": 1.0}, "sfda"))
    assert dict(ranks.select("model", "rank").rows()) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert mean_ranks(ranks).rows(named=True)[:2] == [
        {"model": "a", "mean_rank": 1.5, "first": 1, "scores": 1},
        {"model": "b", "mean_rank": 1.5, "first": 1, "scores": 1},
    ]


def test_part_that_differs_by_rounding_counts_nothing_in_a_pool():
    rows = [
        {"model": model, "method": "etran", "variant": f"part={part}", "value": value}
        for model, energy, right in (("a", 2.0, 1.0), ("b", 1.0, 1.0 + 2e-16), ("c", 0.0, 1.0))
        for part, value in (("energy", energy), ("discriminant", right))
    ]
    schema = {"target": polars.String, "shots": polars.String, "model": polars.String, **COLUMNS}
    schema["feature_seconds"] = polars.Float64
    table = polars.DataFrame([{"target": "t", "shots": "full", **row} for row in rows], schema)
    found = dict(normalise_pools(table).select("model", "value").rows())
    assert found == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.0})
