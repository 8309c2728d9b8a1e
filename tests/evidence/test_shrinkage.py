"""Averages over earlier targets."""

import pytest

from xferpipe.evidence.shrinkage import beside_mean, shrunk


def test_mean_is_drawn_to_zero_by_one_more_value() -> None:
    assert shrunk([3.0, 5.0, 4.0]) == 3.0
    assert shrunk([]) == 0.0


def test_values_beside_their_mean_sum_to_nothing() -> None:
    found = beside_mean({"a": 1.0, "b": 2.0, "c": 6.0})
    assert found == pytest.approx({"a": -2.0, "b": -1.0, "c": 3.0})
    assert beside_mean({}) == {}
