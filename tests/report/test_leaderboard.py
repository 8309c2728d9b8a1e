"""The leaderboard says what the tables hold, the expected best first."""

from __future__ import annotations

import polars
import pytest

from xferpipe.records import result_files, write_table
from xferpipe.report.evidence import load
from xferpipe.report.leaderboard import leaderboards


@pytest.fixture(scope="module")
def evidence(full_study):
    job, tables, _ = full_study
    return load(job, result_files(tables))


def test_rows_are_every_pair_that_was_run_and_begin_with_the_pick(evidence):
    boards = leaderboards(evidence)
    assert [board.place for board in boards] == ["digits_high", "digits_few", "vehicles"]
    for board in boards:
        runs = evidence["finetunes"].filter(target=board.place).select("model", "recipe").unique()
        assert {(row.model, row.recipe) for row in board.rows} == set(runs.rows())
        assert "pick" in board.rows[0].marks
        assert sum("pick" in row.marks for row in board.rows) == 1
        assert sum("cheapest" in row.marks for row in board.rows) == 1


def test_figures_are_those_of_the_tables(evidence):
    row = leaderboards(evidence)[0].rows[0]
    runs = evidence["finetunes"].filter(target="digits_high", model=row.model, recipe=row.recipe)
    assert row.cells["validation"] == pytest.approx(runs["validation_accuracy"].mean())
    assert row.cells["test"] == pytest.approx(runs["test_accuracy"].mean())
    assert row.cells["seconds"] == pytest.approx(runs["seconds"].mean())
    assert (row.cells["runs"], row.cells["millions"]) == (3, 0.174)
    assert row.cells["low"] < row.cells["test"] < row.cells["high"]


def test_bars_lie_on_one_scale_that_the_outermost_ends_touch(evidence):
    bars = [row.bar for row in leaderboards(evidence)[0].rows]
    assert min(low for low, _, _ in bars) == 0
    assert max(high for _, _, high in bars) == 100
    assert all(low <= value <= high for low, value, high in bars)


def test_ranks_by_a_score_count_from_the_highest_and_leave_out_the_undefined(evidence):
    board = leaderboards(evidence)[0]
    scores = evidence["scores"].filter(target="digits_high")
    assert len(board.scores) == 3
    for score in board.scores:
        values = dict(scores.filter(method=score).select("model", "value").iter_rows())
        for row in board.rows:
            mine = values[row.model]
            expected = (
                None
                if mine is None
                else 1 + sum((value or mine) > mine for value in values.values())
            )
            assert row.cells[score] == expected


def test_milliseconds_are_those_of_the_model_in_table_zoo(evidence):
    times = dict(evidence["zoo"].select("model", "milliseconds").iter_rows())
    assert len(set(times.values())) > 1
    for row in leaderboards(evidence)[0].rows:
        assert row.cells["milliseconds"] == times[row.model]


def test_diverged_runs_and_models_that_learned_nothing_are_flagged(full_study, tmp_path):
    job, tables, _ = full_study
    runs = polars.read_parquet(tables / "finetunes.parquet")
    bad = (polars.col("model") == "shapes_resnet8") & (polars.col("seed") == 0)
    status = polars.when(bad).then(polars.lit("diverged")).otherwise("status")
    write_table("finetunes", runs.with_columns(status=status), tmp_path / "finetunes.parquet")
    zoo = polars.read_parquet(tables / "zoo.parquet")
    near = polars.col("model") == "textures_resnet8"
    zoo = zoo.with_columns(
        near_chance=near, source_accuracy=polars.when(near).then(0.14).otherwise("source_accuracy")
    )
    write_table("zoo", zoo, tmp_path / "zoo.parquet")
    files = result_files(tables)
    files |= {name: tmp_path / f"{name}.parquet" for name in ("finetunes", "zoo")}
    board = leaderboards(load(job, files))[0]
    warnings = {(row.model, row.recipe): row.warning for row in board.rows if row.warning}
    assert warnings == {
        ("shapes_resnet8", "gentle"): "1 of 3 runs diverged",
        ("shapes_resnet8", "high_lr"): "1 of 3 runs diverged",
    } | {
        ("textures_resnet8", recipe): "learned next to nothing on its own source: 0.14 right among "
        "8 classes, as guessing"
        for recipe in ("gentle", "high_lr")
    }
