"""Ranks of models by scores are scipy's, and only whole scores that all models have count."""

from __future__ import annotations

import polars
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from xferpipe.aggregate.score_ranking import mean_ranks, ranked
from xferpipe.scores.score_table import COLUMNS


def table(values: dict[tuple[str, str], float | None]) -> polars.DataFrame:
    rows = [{"method": m, "variant": v, "value": value} for (m, v), value in values.items()]
    empty = dict.fromkeys(COLUMNS)
    return polars.DataFrame([empty | row for row in rows], schema=COLUMNS)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 2), min_size=2, max_size=6))
def test_ranks_are_those_of_scipy(values):
    tables = {
        f"m{i}": table({("lfc", ""): float(a), ("knn", ""): float(b)})
        for i, (a, b) in enumerate(values)
    }
    found = ranked(tables)
    expected = {}
    for place, method in enumerate(("lfc", "knn")):
        expected[method] = rankdata([-value[place] for value in values])
        own = found.filter(method=method)
        assert own["model"].to_list() == list(tables)
        assert own["rank"].to_list() == expected[method].tolist()
    means = dict(mean_ranks(found).select("model", "mean_rank").rows())
    assert means == {
        f"m{i}": (expected["lfc"][i] + expected["knn"][i]) / 2 for i in range(len(values))
    }
    assert mean_ranks(found)["mean_rank"].is_sorted()


def test_parts_and_scores_that_a_model_lacks_do_not_count():
    found = ranked(
        {
            "a": table({("lfc", ""): 1.0, ("lfc", "part"): 9.0, ("leep", ""): 0.1}),
            "b": table({("lfc", ""): 2.0, ("lfc", "part"): 8.0, ("leep", ""): None}),
        }
    )
    order = mean_ranks(found)
    assert order.rows() == [("b", 1.0, 1, 1), ("a", 2.0, 0, 1)]
    assert mean_ranks(found.filter(method="leep")).is_empty()


def test_score_of_a_pool_is_normalised_over_the_models():
    parts = ("part=energy", "part=discriminant")
    values = {"a": (1.0, 0.2), "b": (3.0, 0.4), "c": (2.0, 0.4)}
    found = ranked(
        {
            model: table({("etran", part): value for part, value in zip(parts, pair)})
            for model, pair in values.items()
        }
    )
    assert dict(found.select("model", "value").rows()) == {"a": 0.0, "b": 2.0, "c": 1.5}
    assert dict(found.select("model", "rank").rows()) == {"a": 3.0, "b": 1.0, "c": 2.0}
