"""Which models are within limits of what they cost."""

from __future__ import annotations

import polars
import pytest

from xferpipe.cli.limits import within

ZOO = polars.DataFrame(
    {
        "model": ["small", "middle", "large", "new"],
        "milliseconds": [2.0, 10.0, 40.0, None],
        "gmacs": [0.1, 3.0, 2.0, None],
        "parameters": [1_000_000, 5_000_000, 90_000_000, 25_000_000],
    }
)


@pytest.mark.parametrize(
    ("limits", "left_out", "unknown"),
    [
        ({}, [], []),
        ({"milliseconds": 10.0}, ["large"], ["new"]),
        ({"milliseconds": 9.9}, ["middle", "large"], ["new"]),
        ({"gmacs": 2.0}, ["middle"], ["new"]),
        ({"parameters": 25.0}, ["large"], []),
        ({"milliseconds": 10.0, "gmacs": 2.0, "parameters": None}, ["middle", "large"], ["new"]),
    ],
)
def test_models_that_cost_more_are_left_out_and_unknown_ones_named(limits, left_out, unknown):
    found = within(ZOO, limits)
    assert (found.left_out, found.unknown) == (left_out, unknown)
    assert found.models == [model for model in ZOO["model"] if model not in left_out]


def test_words_say_how_many_were_left_out_of_which_limit_and_whose_cost_is_unknown():
    first, second = within(ZOO, {"milliseconds": 10.0, "parameters": 50.0}).said
    assert first.startswith("Left out: 1 of 4 models")
    assert "10 ms an image and 50 million parameters" in first
    assert second.endswith("new.")


def test_without_any_known_cost_nothing_is_left_out_and_that_is_said():
    zoo = ZOO.with_columns(milliseconds=polars.lit(None, polars.Float64))
    found = within(zoo, {"milliseconds": 1.0})
    assert found.models == ZOO["model"].to_list()
    assert "No cost is known" in " ".join(found.said)


def test_no_model_within_the_limits_is_an_error_that_says_what_the_least_is():
    zoo = ZOO.filter(polars.col("model") != "new")
    with pytest.raises(ValueError, match=r"within 1 ms an image; .* --max-ms 2:"):
        within(zoo, {"milliseconds": 1.0})
    with pytest.raises(ValueError, match="--max-params 1:"):
        within(ZOO, {"parameters": 0.5})
