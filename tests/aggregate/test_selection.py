"""Selection, gains and efficiency of simulated studies: choice on validation, report of test."""

from __future__ import annotations

import numpy
import polars
import pytest
from places import noisy, runs_of

from xferpipe.aggregate.efficiency import efficiency
from xferpipe.aggregate.selection import NO_PART, selection_and_gains
from xferpipe.config.study import Selection
from xferpipe.records import empty, frame

EIGHT = [f"m{i}" for i in range(8)]
ONE_RECIPE = {model: ["r"] for model in EIGHT}


def scores_of(values: dict[str, float]) -> polars.DataFrame:
    row = {"target": "t", "shots": "full", "method": "x", "variant": ""}
    return frame("scores", [row | {"model": m, "value": v} for m, v in values.items()])


def judge(runs: polars.DataFrame, values: dict[str, float] | None = None, **options):
    scores = empty("scores") if values is None else scores_of(values)
    return selection_and_gains(Selection(**options), runs, scores, 0)


def test_zoo_and_search_of_equal_runs_both_show_their_true_figure() -> None:
    """All runs truly 0.800, noise 0.02: a zoo chosen on test showed 0.827."""
    generator = numpy.random.default_rng(0)
    selection = Selection(reference_model="m0")
    recipes = ONE_RECIPE | {"m0": ["r", *(f"s{i}" for i in range(7))]}
    shown = {"zoo": [], "search": []}
    leak = []
    for _ in range(150):
        runs = noisy(generator, dict.fromkeys(EIGHT, 0.8), recipes, 0.02)
        _, gains = selection_and_gains(selection, runs, empty("scores"), 0)
        table = efficiency(selection, runs, gains, 0).filter(runs=8)
        for strategy, values in shown.items():
            values.append(table.filter(strategy=strategy)["value"].item())
        leak.append(runs.filter(recipe="r")["value"].max())
    # Deviation of a mean of 150: 0.0017.
    assert numpy.mean(shown["zoo"]) == pytest.approx(0.8, abs=0.006)
    assert numpy.mean(shown["search"]) == pytest.approx(0.8, abs=0.006)
    assert numpy.mean(leak) == pytest.approx(0.8 + 0.02 * 1.42, abs=0.004)


def test_gains_regret_and_trials_have_intervals_that_hold_them() -> None:
    generator = numpy.random.default_rng(1)
    truth = {m: 0.7 + 0.02 * i for i, m in enumerate(EIGHT)}
    runs = noisy(generator, truth, ONE_RECIPE, 0.02, seeds=3)
    selection, gains = judge(runs, {m: float(i % 5) for i, m in enumerate(EIGHT)})
    row = selection.filter(method="x").row(0, named=True)
    assert row["redrawn"] == "seeds"
    for name in ("trials", "regret"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row[f"{name}_low"] < row[f"{name}_high"]
    assert row["trials_low"] >= 1
    assert row["trials_high"] <= 8
    for name in ("best_of_k", "gain"):
        low, value, high = (gains[name + end] for end in ("_low", "", "_high"))
        assert ((low <= value) & (value <= high) & (low < high)).all()


def test_gains_of_single_runs_have_no_interval() -> None:
    selection, gains = judge(runs_of([{"model": m, "value": 0.5} for m in EIGHT]))
    assert gains["gain_low"].is_null().all()
    assert selection["redrawn"].is_null().all()


def test_best_of_k_is_the_test_figure_of_the_one_that_validates_best() -> None:
    rows = [("a", 0.9, 0.6), ("b", 0.7, 0.8), ("c", 0.8, 0.7)]
    runs = runs_of([{"model": m, "value": v, "validation": k} for m, v, k in rows])
    selection, gains = judge(runs, {"a": 3.0, "b": 2.0, "c": 1.0})
    own = gains.filter(method="x")
    assert own["best_of_k"].to_list() == pytest.approx([0.9, 0.7, 0.7])
    assert own["chosen_on"].unique().to_list() == ["validation"]
    row = selection.filter(method="x").row(0, named=True)
    assert (row["best_model"], row["trials"]) == ("b", 2)
    # The model put first has the better test figure; no choice of ours could have known.
    assert row["regret"] == pytest.approx(-0.2)


def test_best_model_of_equal_figures_is_no_name() -> None:
    runs = runs_of([{"model": m, "value": 0.5 + 0.1 * (m in "bc")} for m in "abc"])
    selection, _ = judge(runs, {"a": 1.0, "b": 1.0, "c": 0.0})
    row = selection.filter(method="x").row(0, named=True)
    assert (row["best_model"], row["top_model"]) == (None, None)


def test_regret_of_models_that_a_score_puts_first_together_is_of_their_mean() -> None:
    """Of 0.5 and 0.7, either of which would be taken, and the best of 0.9."""
    runs = runs_of([{"model": m, "value": v} for m, v in (("a", 0.5), ("b", 0.7), ("c", 0.9))])
    selection, _ = judge(runs, {"a": 1.0, "b": 1.0, "c": 0.0})
    row = selection.filter(method="x").row(0, named=True)
    assert row["regret"] == pytest.approx(0.9 - 0.6)
    assert row["trials"] == 3


def test_gains_count_from_the_median_model_where_no_reference_is_named() -> None:
    runs = runs_of([{"model": m, "value": v} for m, v in (("a", 0.1), ("b", 0.7), ("c", 0.9))])
    _, gains = judge(runs, {"a": 1.0, "b": 2.0, "c": 3.0})
    assert gains.filter(method="x", k=1)["gain"].item() == pytest.approx(0.9 - 0.7)


def test_gains_count_from_the_reference_behind_a_model_that_is_not_tried() -> None:
    rows = [{"model": "a", "value": 0.3}]
    rows += [{"model": m, "value": v, "validation": v} for m, v in (("b", 0.5), ("c", 0.9))]
    _, gains = judge(runs_of(rows), {"c": 2.0, "b": 1.0}, reference_model="b")
    assert gains.filter(method="x", k=1)["gain"].item() == pytest.approx(0.9 - 0.5)


def test_model_without_validation_is_not_tried_and_still_correlated() -> None:
    rows = [{"model": m, "value": 0.1 * i, "validation": 0.1 * i} for i, m in enumerate("abcd")]
    rows.append({"model": "e", "value": 0.9})
    selection, gains = judge(runs_of(rows), {m: float(i) for i, m in enumerate("abcde")})
    row = selection.filter(method="x").row(0, named=True)
    assert (row["models"], row["best_model"], row["trials"]) == (5, "d", 1)
    assert row["spearman"] == pytest.approx(1)
    assert gains.filter(method="x")["k"].max() == 4


def test_recipe_without_any_validation_where_others_have_it_chooses_nothing() -> None:
    rows = [{"model": m, "value": 0.1 * i, "validation": 0.1 * i} for i, m in enumerate("abcd")]
    rows += [{"model": m, "recipe": "own", "value": 0.2 * i} for i, m in enumerate("abcd")]
    selection, gains = judge(runs_of(rows), {m: float(i) for i, m in enumerate("abcd")})
    row = selection.filter(method="x", recipe="own").row(0, named=True)
    assert row["spearman"] == pytest.approx(1)
    assert (row["trials"], row["chosen_on"]) == (None, "validation")
    assert NO_PART in row["reason"]
    assert gains["recipe"].unique().to_list() == ["r"]
