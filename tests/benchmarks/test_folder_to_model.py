"""The benchmark of `xferpipe run`: what it draws, what it knows, and how it sums up."""

from __future__ import annotations

import polars
import pytest

from benchmarks import folder_to_model as benchmark
from xferpipe.config.histories import shipped
from xferpipe.records import read_table


@pytest.fixture
def some_cells(monkeypatch, tmp_path):
    """Two classes of files in place of the package's images."""
    found = {}
    for name in ("mono_functional", "mono_defective"):
        folder = tmp_path / "package" / name
        folder.mkdir(parents=True)
        found[name] = [folder / f"{name}{i}.png" for i in range(300)]
        for path in found[name]:
            path.write_text(path.name)
    monkeypatch.setattr(benchmark, "cells", lambda: found)


def names(folder, part):
    return {path.name for path in (folder / part).rglob("*.png")}


def test_photographs_that_judge_are_others_than_those_that_train(some_cells, tmp_path):
    benchmark.draw(tmp_path / "a", 0)
    trained, judged = names(tmp_path / "a", "photos"), names(tmp_path / "a", "new")
    assert (len(trained), len(judged)) == (2 * benchmark.TRAINED, 2 * benchmark.JUDGED)
    assert not trained & judged
    benchmark.draw(tmp_path / "b", 0)
    benchmark.draw(tmp_path / "c", 1)
    assert names(tmp_path / "b", "photos") == trained
    assert names(tmp_path / "c", "photos") != trained


def test_history_is_the_one_that_ships_without_the_cells(tmp_path):
    left = read_table("history", benchmark.earlier(tmp_path))
    whole = polars.concat([read_table("history", path) for path in shipped()])
    assert benchmark.SOURCE in whole["source"].unique()
    assert set(whole["source"]) - set(left["source"]) == {benchmark.SOURCE}
    assert left.height == whole.filter(polars.col("source") != benchmark.SOURCE).height


def test_accuracy_counts_the_photographs_whose_folder_was_predicted():
    found = polars.DataFrame(
        {"path": ["new/a/1.png", "new/a/2.png", "new/b/3.png", "new/b/4.png"],
         "predicted": ["a", "b", "b", None]}
    )  # fmt: skip
    assert benchmark.accuracy(found) == 0.5


def test_summary_has_means_over_the_seeds():
    def seed(accuracy, best, by_validation):
        return {
            "accuracy": accuracy,
            "best": {"accuracy": best},
            "regret": best - accuracy,
            "regret_of_best_validation": by_validation,
            "fine_tunes": 10,
            "run": {"seconds": 200.0},
        }

    found = benchmark.summary([seed(0.75, 0.8, 0.0), seed(0.85, 0.86, 0.02)])
    assert found["mean_regret"] == 0.03
    assert found["standard_error"] == 0.02
    assert (found["mean_accuracy"], found["mean_best"]) == (0.8, 0.83)
    assert found["mean_regret_of_best_validation"] == 0.01
    assert (found["seeds"], found["mean_fine_tunes"], found["mean_seconds"]) == (2, 10.0, 200.0)


def test_table_has_a_row_a_seed_and_the_means():
    seed = {
        "seed": 3,
        "winner": {"model": "lite1", "recipe": "head"},
        "accuracy": 0.75,
        "best": {"accuracy": 0.78, "model": "lite0", "recipe": "gentle"},
        "regret": 0.03,
        "regret_of_best_validation": 0.01,
        "fine_tunes": 9,
        "run": {"seconds": 220.0, "load_before": 0.4},
    }
    report = {"seeds": [seed, seed], "summary": benchmark.summary([seed, seed])}
    lines = benchmark.markdown(report).splitlines()
    assert len(lines) == 5
    row = "| 3 | lite1, head | 0.750 | 0.780 (lite0, gentle) | 0.030 | 9 | 220 s | 0.4 |"
    assert lines[2:4] == [row, row]
    assert lines[4].startswith("| mean |  | 0.750 | 0.780 | 0.030 ± 0.000 | 9.0 | 220 s |")


def test_classes_are_the_cells_whose_state_is_certain():
    pytest.importorskip("elpv_dataset")
    counts = {name: len(paths) for name, paths in benchmark.cells().items()}
    # By hand from labels.csv: lines of probability 0 and 1 of each kind.
    assert counts == {
        "mono_functional": 588,
        "mono_defective": 313,
        "poly_functional": 920,
        "poly_defective": 402,
    }
