"""Which run is handed over."""

import polars
import pytest

from xferpipe.handover.winner import best_run, winner
from xferpipe.records import read_table, write_table


def test_winner_is_a_run_of_the_pair_that_the_answer_picks(tables, digits):
    answers = read_table("answers", tables / "answers.parquet")
    (picked,) = answers.filter("pick", target="digits").select("model", "recipe").rows()
    assert (digits.run["model"], digits.run["recipe"]) == picked
    assert digits.weights.is_file()
    assert digits.manifest.is_file()
    assert digits.answer["pick"]


def test_options_take_the_place_of_the_pick(tables):
    found = winner(tables, "digits", model="drawn", recipe="sgd", seed=0)
    assert (found.run["model"], found.run["recipe"], found.run["seed"]) == ("drawn", "sgd", 0)
    assert found.is_own
    assert "drawn" in found.weights.parts


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("cats", {}, "nothing was fine-tuned on target 'cats'; targets of this study: digits, veh"),
        ("digits", {"shots": "5"}, "no run has shots '5'; there are: full"),
        ("digits", {"model": "resnet"}, "no run on 'digits' has model 'resnet'; there are: "),
        ("digits", {"model": "drawn", "recipe": "head"}, "has recipe 'head'; there are: sgd"),
        ("digits", {"seed": 7}, "has seed 7; there are: 0"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(tables, target, options, words):
    with pytest.raises(ValueError, match=words):
        winner(tables, target, **options)


def test_without_a_pick_that_was_run_here_the_first_in_the_order_that_was_is_taken(
    finished, tables
):
    folder = finished.results / "tables"
    answers = read_table("answers", tables / "answers.parquet")
    # As where own results of somebody pick a pair that this study never ran.
    runs = read_table("finetunes", tables / "finetunes.parquet")
    picked = answers.filter("pick", target="digits").row(0, named=True)
    pair = {"model": picked["model"], "recipe": picked["recipe"], "target": "digits"}
    kept = runs.join(polars.DataFrame([pair]), on=list(pair), how="anti")
    write_table("finetunes", kept, folder / "finetunes.parquet")
    others = answers.filter(~polars.col("pick"), polars.col("runs") > 0, target="digits")
    found = winner(folder, "digits")
    assert (found.run["model"], found.run["recipe"]) == others.select("model", "recipe").row(0)
    assert not found.answer["pick"]
    failed = runs.with_columns(status=polars.lit("diverged"), reason=polars.lit("loss is nan"))
    write_table("finetunes", failed, folder / "finetunes.parquet")
    with pytest.raises(ValueError, match="no run on 'digits' finished: seed 0: loss is nan"):
        winner(folder, "digits")


def test_weights_that_were_pruned_say_so(finished):
    for path in finished.results.glob("finetune/digits/**/weights.safetensors"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="the weights are gone"):
        winner(finished.results / "tables", "digits")


def test_best_run_is_that_of_the_highest_validation_figure_and_the_first_seed():
    def runs(figures):
        return polars.DataFrame(
            {"seed": range(len(figures)), "judged_by": "map", "validation_map": figures}
        )

    assert best_run(runs([0.2, 0.9, 0.9, None]))["seed"] == 1
    assert best_run(runs([None, None]))["seed"] == 0
