"""The choose stage: a round's table, and rules that no decision may break."""

from __future__ import annotations

import polars
import pytest

from xferpipe.config.load import load_study
from xferpipe.graph.stages import job_of
from xferpipe.records import frame, read_table, write_table
from xferpipe.stages import choose as stage
from xferpipe.stages.choose import DecisionError, choose

STUDY = {
    "name": "rounds",
    "datasets": {"digits": {"reader": "digits"}},
    "targets": {"digits": {"dataset": "digits"}},
    "finetuning_recipes": {"sgd": {}},
    "zoo": {
        name: {"architecture": "cifar_resnet8", "width": 4, "weights": "random"} for name in "ab"
    },
    "choose": [{"budget": {"runs": 3}, "seeds": 2}],
}
RUN = {"target": "digits", "shots": "full", "recipe": "sgd"}


@pytest.fixture
def files(tmp_path):
    """Arguments of a round that knows one run of each model, and where it writes."""
    runs = []
    for model, figure in (("a", 0.6), ("b", 0.7)):
        row = RUN | {"model": model, "seed": 0, "task": "classification", "judged_by": "accuracy"}
        row |= {"status": "finished", "validation_accuracy": figure, "seconds": 3.0}
        runs.append(tmp_path / f"{model}.parquet")
        write_table("finetunes", frame("finetunes", [row]), runs[-1])
    return {
        "decisions": [tmp_path / "round0.parquet"],
        "runs": runs,
        **dict.fromkeys(("predictions", "queries", "scores", "cards"), ()),
        "history": {},
        "decision": tmp_path / "decision.parquet",
    }


def job(number):
    return job_of(load_study(STUDY), "choose", "digits", "full", str(number))


def test_round_is_written_with_its_place(files):
    choose(job(1), **files)
    rows = read_table("decisions", files["decision"])
    assert rows.select("target", "shots", "round").unique().rows() == [("digits", "full", 1)]
    assert rows["model"].to_list() == ["a", "b"]
    assert 0.6 < rows["mean"][0] < rows["mean"][1] < 0.7
    assert rows["chosen"].sum() == 1
    assert rows["first_seed"].to_list() == [1, 1]


def test_edited_run_is_refused(files):
    path = files["runs"][0]
    polars.read_parquet(path).write_parquet(path)
    with pytest.raises(ValueError, match="edited by hand"):
        choose(job(1), **files)


def test_round_after_the_end_of_a_race_is_refused_in_words(files):
    with pytest.raises(DecisionError, match="the race ended with round 0"):
        choose(job(4), **files)


def test_decisions_are_drawn_by_study_target_shots_and_round(files, monkeypatch):
    seeds = []

    def noted(*arguments, seed, **options):
        seeds.append(seed)
        return decide(*arguments, seed=seed, **options)

    decide = stage.decide
    monkeypatch.setattr(stage, "decide", noted)
    choose(job(1), **files)
    choose(job(1), **files)
    choose(job(0), **{**files, "decisions": []})
    other = load_study(STUDY | {"seed": 1})
    choose(job_of(other, "choose", "digits", "full", "1"), **files)
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"first_seed": 0, "chosen": 1}, "a run that is there"),
        ({"first_seed": 1, "chosen": 2}, "a seed that is not below 2"),
        ({"chosen": 0}, "says in every row why the race ends"),
        ({"chosen": 1, "stopped": "enough"}, "says in every row why the race ends"),
        ({"model": "b"}, "one row for each candidate"),
    ],
)
def test_decision_that_would_let_a_race_go_on_for_ever_is_refused(files, monkeypatch, change, says):
    decide = stage.decide

    def wrong(*arguments, **options):
        found = decide(*arguments, **options)
        return found.with_columns(
            polars.lit(value, found.schema[name]).alias(name) for name, value in change.items()
        )

    monkeypatch.setattr(stage, "decide", wrong)
    with pytest.raises(DecisionError, match=says):
        choose(job(1), **files)
    assert not files["decision"].exists()
