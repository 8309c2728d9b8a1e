"""The best of many scores: what chance gives, and what choosing on other targets is worth."""

from __future__ import annotations

import numpy
import polars
import pytest
from places import runs_of

from xferpipe.aggregate.best_scores import best_scores, maxima_by_chance
from xferpipe.aggregate.choice import choices
from xferpipe.aggregate.selection import selection_and_gains
from xferpipe.config.study import Selection
from xferpipe.records import frame

MODELS = [f"m{i}" for i in range(8)]


def rows_of(values: dict[str, dict[str, list[float | None]]]) -> polars.DataFrame:
    """Return table `scores` from target -> method -> a value for each model."""
    return frame(
        "scores",
        [
            {"target": target, "shots": "full", "model": model, "method": method, "variant": ""}
            | {"value": value}
            for target, methods in values.items()
            for method, figures in methods.items()
            for model, value in zip(MODELS, figures)
        ],
    )


def runs_on(metric: dict[str, list[float]], **more) -> polars.DataFrame:
    return polars.concat(
        runs_of([{"model": m, "value": v} for m, v in zip(MODELS, values)], target=target, **more)
        for target, values in metric.items()
    )


def judged(runs: polars.DataFrame, scores: polars.DataFrame):
    selection, _ = selection_and_gains(Selection(), runs, scores, 0)
    return selection, best_scores(selection, runs, scores, 0)


@pytest.mark.parametrize(("scores", "expected"), [(8, 0.38), (25, 0.51)])
def test_best_of_useless_scores_on_two_targets_is_what_chance_says(scores, expected) -> None:
    """8 useless scores on 2 targets print a best mean of 0.38, and 25 print 0.51."""
    generator = numpy.random.default_rng(scores)
    best, chance = [], []
    for study in range(60):
        places = [(MODELS, generator.random((scores, 8)), generator.random(8)) for _ in range(2)]
        ranks = [(s.argsort().argsort(), m.argsort().argsort()) for _, s, m in places]
        means = [
            numpy.mean([numpy.corrcoef(s[i], m)[0, 1] for s, m in ranks]) for i in range(scores)
        ]
        best.append(max(means))
        chance.append(maxima_by_chance(places, study).mean())
    assert numpy.mean(best) == pytest.approx(expected, abs=0.05)
    assert numpy.mean(chance) == pytest.approx(expected, abs=0.02)


def test_p_value_is_never_nothing() -> None:
    """Of eight models one relabelling in 40,320 gives the very order: that itself counts as one."""
    metric = [0.1 * number for number in range(8)]
    _, found = judged(runs_on({"t": metric}), rows_of({"t": {"lfc": metric}}))
    assert found["p_value"].item() == pytest.approx(1 / 2001)


def test_p_value_of_scores_that_are_the_same_everywhere_holds_where_models_are() -> None:
    """Good models are good on all targets, parameter counts are the same: one draw, not four."""
    generator = numpy.random.default_rng(0)
    false = 0
    for study in range(200):
        good, fixed = generator.standard_normal(8), generator.standard_normal((5, 8))
        places = [(MODELS, fixed, good + 0.2 * generator.standard_normal(8)) for _ in range(4)]
        means = numpy.mean(
            [
                [numpy.corrcoef(s.argsort().argsort(), m.argsort().argsort())[0, 1] for s in scores]
                for _, scores, m in places
            ],
            axis=0,
        )
        chance = maxima_by_chance(places, study)
        false += (chance >= means.max() - 1e-9).mean() <= 0.05
    # 200 at 5 %: 10 expected, deviation 3.1. Dealt out on each target alone it is half of them.
    assert false <= 20


def test_nested_performance_is_that_of_the_score_the_other_targets_choose() -> None:
    rising, falling = [float(i) for i in range(8)], [-float(i) for i in range(8)]
    swapped = [1.0, 0.0, *rising[2:]]
    runs = runs_on(dict.fromkeys("tuv", rising))
    scores = rows_of(
        {
            "t": {"x": rising, "y": falling},
            "u": {"x": rising, "y": swapped},
            "v": {"x": falling, "y": swapped},
        }
    )
    selection, found = judged(runs, scores)
    # On t, u, v: x has 1, 1, -1 and y has -1, 0.98, 0.98. Elsewhere x has means 0, 0, 1.
    chosen = {row["target"]: row for row in choices(selection).to_dicts()}
    assert {t: row["method"] for t, row in chosen.items()} == {"t": "y", "u": "x", "v": "x"}
    (row,) = found.to_dicts()
    assert row["nested_spearman"] == pytest.approx((-1 + 1 - 1) / 3)
    assert (row["method"], row["targets"], row["candidates"]) == ("x", 3, 2)
    assert row["spearman"] == pytest.approx(1 / 3)
    assert 0.33 > row["chance_spearman"] > 0


def test_score_that_leaves_models_out_does_not_compete() -> None:
    rising = [float(i) for i in range(8)]
    noisy = [2.0, 0.0, 1.0, 4.0, 3.0, 6.0, 5.0, 7.0]
    half = [0.0, 1.0, 2.0, 3.0, None, None, None, None]
    runs = runs_on(dict.fromkeys("tu", rising))
    scores = rows_of({target: {"half": half, "whole": noisy} for target in "tu"})
    selection, found = judged(runs, scores)
    coverage = dict(selection.filter(target="t").select("method", "coverage").iter_rows())
    assert (coverage["half"], coverage["whole"], coverage["random"]) == (0.5, 1.0, 1.0)
    assert choices(selection)["method"].unique().to_list() == ["whole"]
    assert found.select("method", "candidates").rows() == [("whole", 1)]


def test_recipe_chosen_on_test_never_enters() -> None:
    rising = [float(i) / 10 for i in range(8)]
    runs = polars.concat(
        runs_on({"t": rising, "u": rising}, recipe=recipe, validation=0.5) for recipe in "ab"
    )
    scores = rows_of({target: {"x": rising} for target in "tu"})
    selection, found = judged(runs, scores)
    assert "best_on_test" in selection["recipe"].to_list()
    assert set(found["recipe"]) == set(choices(selection)["recipe"]) == {"a", "b", "best"}


def test_best_of_one_target_has_no_nested_performance() -> None:
    rising = [float(i) for i in range(8)]
    _, found = judged(runs_on({"t": rising}), rows_of({"t": {"x": rising}}))
    (row,) = found.to_dicts()
    assert row["nested_spearman"] is None
    assert "one target" in row["reason"]
    # One of 8! orders.
    assert row["p_value"] < 0.002


def test_scores_that_tie_for_the_best_leave_its_name_empty() -> None:
    rising = [float(i) for i in range(8)]
    runs = runs_on({"t": rising})
    _, found = judged(runs, rows_of({"t": {"x": rising, "y": rising}}))
    assert found.select("method", "candidates", "spearman").rows() == [(None, 2, 1.0)]
