"""Redraws of seeds and images: their noise is the one that simulated studies have."""

from __future__ import annotations

from pathlib import Path

import numpy
import polars
import pytest
from places import noisy, runs_of

from xferpipe.aggregate.by_model import by_model
from xferpipe.aggregate.orders import best_of_first
from xferpipe.aggregate.redraws import Outcomes, ends, outcomes, redraw
from xferpipe.records import frame, write_table


def of_recipe(runs: polars.DataFrame) -> polars.DataFrame:
    return by_model(runs).filter(recipe="r")


def test_redraws_of_seeds_have_the_pooled_deviation_over_the_root_of_the_runs() -> None:
    """Two runs 0.02 apart of each model: variance 0.0002 of a run, half that of a mean."""
    rows = [
        {"model": f"m{i:03}", "seed": s, "value": 0.5 + 0.02 * s, "validation": 0.5 - 0.02 * s}
        for i in range(40)
        for s in range(2)
    ]
    runs = runs_of(rows)
    found = redraw(of_recipe(runs), runs, {}, 0)
    assert found.over == "seeds"
    assert found.value.std() == pytest.approx(0.01, rel=0.03)
    # What moves the test figure up moves the validation figure down.
    apart = (found.value - 0.51) + (found.key - 0.49)
    assert numpy.abs(apart).max() < 1e-9


def test_redraws_of_images_are_shared_by_models_that_agree_on_them() -> None:
    right = (numpy.arange(100) < 80).astype(float)
    other = right[::-1]
    runs = runs_of([{"model": m, "value": 0.8, "validation": 0.8} for m in "abc"])
    test = Outcomes(
        {("a", "r"): 0, ("b", "r"): 1, ("c", "r"): 2}, numpy.stack([right, right, other])
    )
    found = redraw(of_recipe(runs), runs, {"test": test}, 0)
    assert found.over == "images"
    assert found.value.std(axis=0) == pytest.approx(numpy.sqrt(0.8 * 0.2 / 100), rel=0.1)
    # a and b are right on the same images: no redraw tells them apart.
    assert numpy.allclose(found.value[:, 0], found.value[:, 1])
    assert numpy.abs(found.value[:, 0] - found.value[:, 2]).max() > 0.05
    assert numpy.all(found.key == 0.8)


def test_model_without_outcomes_has_binomial_noise_of_as_many_images() -> None:
    runs = runs_of([{"model": m, "value": 0.9} for m in "ab"])
    test = Outcomes({("a", "r"): 0}, numpy.ones((1, 400)))
    found = redraw(of_recipe(runs), runs, {"test": test}, 0)
    assert found.value[:, 0].std() == pytest.approx(0, abs=1e-12)
    assert found.value[:, 1].std() == pytest.approx(numpy.sqrt(0.9 * 0.1 / 400), rel=0.1)
    assert numpy.array_equal(found.key, found.value)


def test_redraws_of_single_runs_without_outcomes_are_over_nothing() -> None:
    runs = runs_of([{"model": m, "value": 0.9} for m in "ab"])
    found = redraw(of_recipe(runs), runs, {}, 0)
    assert found.over is None
    assert numpy.all(found.value == 0.9)


def test_interval_of_best_of_k_covers_what_the_procedure_gives_on_average() -> None:
    """Six models, two seeds of noise 0.02, spread 0.02: choice on validation, report on test."""
    generator = numpy.random.default_rng(0)
    truth = {f"m{i}": 0.8 + 0.02 * z for i, z in enumerate(generator.standard_normal(6))}
    score = numpy.arange(6.0)
    points, covered = [], []
    for _ in range(200):
        runs = noisy(generator, truth, {model: ["r"] for model in truth}, 0.02, seeds=2)
        group = of_recipe(runs)
        value, key = (group[name].to_numpy()[None] for name in ("value", "key"))
        draws = redraw(group, runs, {}, 0)
        points.append(best_of_first(value, score, key)[0])
        covered.append(ends(best_of_first(draws.value, score, draws.key), points[-1], 0.95))
    mean = numpy.mean(points, axis=0)
    hits = numpy.mean([(low <= mean) & (mean <= high) for low, high in covered], axis=0)
    # 200 at 95 %: deviation 0.015.
    assert numpy.all((hits >= 0.88) & (hits <= 1.0)), hits


def test_outcomes_are_read_by_image_and_averaged_over_seeds(tmp_path: Path) -> None:
    run = {"target": "t", "shots": "full", "model": "a", "recipe": "r"}
    rows = [
        run | {"seed": seed, "split": "test", "row": image, "label": 1, "predicted": predicted}
        for seed, answers in enumerate(((1, 0, 1), (1, 1, 0)))
        for image, predicted in zip((7, 3, 5), answers, strict=True)
    ]
    rows += [row | {"target": "u", "predicted": 0} for row in rows]
    write_table("predictions", frame("predictions", rows), tmp_path / "predictions.parquet")
    found = outcomes(tmp_path, "t", "full", "accuracy")
    assert list(found) == ["test"]
    # In the order of the rows: 3, 5, 7.
    assert found["test"].figures.tolist() == [[0.5, 0.5, 1.0]]


def test_outcomes_of_retrieval_are_the_average_precisions_of_its_queries(tmp_path: Path) -> None:
    run = {"target": "t", "shots": "full", "recipe": "r", "seed": 0, "reranked": False}
    rows = [
        run | {"model": model, "query": query, "ap": ap}
        for model, aps in {"a": (0.1, None, 0.3), "b": (0.4, None, 0.6)}.items()
        for query, ap in enumerate(aps)
    ]
    rows += [row | {"reranked": True, "ap": 1.0} for row in rows]
    table = frame("retrieval_queries", rows)
    write_table("retrieval_queries", table, tmp_path / "retrieval_queries.parquet")
    found = outcomes(tmp_path, "t", "full", "map")["test"]
    numpy.testing.assert_allclose(found.figures, [[0.1, 0.3], [0.4, 0.6]], rtol=1e-6)


def test_outcomes_without_a_table_are_unknown(tmp_path: Path) -> None:
    assert outcomes(tmp_path, "t", "full", "accuracy") == {}
