"""Our figures of what others printed, each against the rows of the fixture's tables."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest
import yaml
from pydantic import ValidationError

from xferpipe.config import load_study
from xferpipe.config.jobs import ReportJob
from xferpipe.config.load import StudyError
from xferpipe.config.report import QUANTITIES, Report
from xferpipe.config.study import Selection
from xferpipe.records import result_files, write_table
from xferpipe.report.evidence import load
from xferpipe.report.quantities import (
    _MEASURES,
    orders_table,
    published_table,
    run_speeds,
)

ROOT = Path(__file__).parents[2]
DIGITS = yaml.safe_load((ROOT / "studies" / "digits.yaml").read_text())
RUN = {"target": "digits_high", "recipe": "gentle"}


@pytest.fixture(scope="module")
def tables(study_tables, tmp_path_factory):
    return study_tables().write(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def published(tables):
    """Return a function that sets some figures of one quantity beside the fixture's."""

    def run(quantity: str, *figures: dict, folder=tables) -> polars.DataFrame:
        table = {"title": "t", "quantity": quantity, "comparable": "in part"}
        block = {"published": [table | {"figures": list(figures)}]}
        return published_table(load(_job(block), result_files(folder)))

    return run


@pytest.fixture
def ordered(tables):
    """Return a function that puts one printed order to the test."""

    def run(*models, of: str, folder=tables, **more) -> polars.DataFrame:
        order = {"finding": "f", "property": of, "models": models} | more
        return orders_table(load(_job({"orders": [order]}), result_files(folder)))

    return run


def _job(block: dict) -> ReportJob:
    return ReportJob(study="s", selection=Selection(speed_train_accuracy=0.95), report=block)


def test_fine_tuned_figures_stand_beside_ours_and_gaps_stay_null(published, tables):
    table = published(
        "finetuned",
        RUN | {"model": "digits_low_resnet14", "value": 0.9},
        RUN | {"model": "never_run", "value": 0.5},
        RUN | {"model": "letters_resnet8", "against": "digits_low_resnet14", "value": 0.1},
        RUN | {"model": "letters_resnet8", "against": "never_run", "value": 0.1},
    )
    runs = polars.read_parquet(tables / "finetunes.parquet").filter(**RUN)
    mean = runs.group_by("model").agg(polars.mean("test_accuracy")).rows()
    of = dict(mean)
    first, second = of["digits_low_resnet14"], of["letters_resnet8"]
    assert table["ours"].to_list() == pytest.approx([first, None, second - first, None])
    assert table["difference"].to_list() == pytest.approx(
        [first - 0.9, None, second - first - 0.1, None]
    )
    assert table["seeds"].to_list() == [3, None, 3, None]
    assert set(table["comparable"]) == {"in part"}


def test_retrieval_figures_give_rank_1_beside_map(published, tables):
    run = {"target": "vehicles", "recipe": "gentle", "model": "letters_resnet8"}
    row = published("finetuned", run | {"value": 0.8}).row(0, named=True)
    rows = polars.read_parquet(tables / "retrieval.parquet").filter(**run)
    assert row["metric"] == "map"
    assert row["ours"] == pytest.approx(rows["map"].mean())
    assert row["rank1"] == pytest.approx(rows["rank1"].mean())


def test_source_figures_are_those_of_the_zoo_and_of_the_clean_probe(published):
    model = {"model": "digits_low_resnet8", "value": 0.5}
    assert published("source_accuracy", model)["ours"].to_list() == [0.97]
    assert published("source_error", model)["ours"].to_list() == pytest.approx([0.03])
    assert published("source_loss", model)["ours"].to_list() == pytest.approx([1 - 0.93])
    nobody = {"model": "random_resnet8", "value": 0.5}
    assert published("source_accuracy", nobody)["ours"].to_list() == [None]


def test_epochs_and_distance_of_fine_tunes_are_those_of_the_table_of_epochs(published):
    """The fixture's runs have training accuracy 1 - 0.5^epoch and distance epoch, for 6 epochs."""
    model = RUN | {"model": "letters_resnet8", "value": 4.0}
    assert published("finetuned_epochs", model)["ours"].to_list() == [5.0]
    assert published("finetuned_distance", model)["ours"].to_list() == [6.0]


def test_epochs_of_a_run_that_never_gets_there_are_null(study_tables, tmp_path):
    folder = study_tables(targets=("digits_high",)).write(tmp_path / "t")
    table = {"title": "t", "quantity": "finetuned_epochs", "comparable": "x"}
    table["figures"] = [RUN | {"model": "letters_resnet8", "value": 4.0}]
    block = {"published": [table]}
    job = ReportJob(study="s", selection=Selection(speed_train_accuracy=0.999), report=block)
    assert published_table(load(job, result_files(folder)))["ours"].to_list() == [None]


def test_distance_over_norm_is_the_mean_over_pairs(published):
    """Every pair of the fixture is 12 apart, with norms 10 and 11."""
    assert published("distance_over_norm", {"value": 1.0})["ours"].to_list() == pytest.approx(
        [12 / 10.5]
    )


def test_time_shares_are_seconds_over_those_of_fine_tuning_every_model(published):
    """The fixture scores all in 30 s and fine-tunes each of 8 models in 36 s."""
    of = {"method": "lfc", "value": 0.1}
    assert published("scoring_share", of)["ours"].to_list() == pytest.approx([30 / 288])
    assert published("top_3_share", of)["ours"].to_list() == pytest.approx([3 / 8])
    assert published("top_3_share", of | {"shots": 20})["ours"].to_list() == [None]
    assert published("top_3_share", of | {"method": "logme"})["ours"].to_list() == [None]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_of_a_study_that_never_ran_is_null(quantity, published, tmp_path):
    names = {"target": "t", "recipe": "r", "model": "m", "method": "lfc"}
    figure = {name: names[name] for name in QUANTITIES[quantity]} | {"value": 0.5}
    table = published(quantity, figure, folder=tmp_path)
    assert table.select("published", "ours", "difference").rows() == [(0.5, None, None)]


def test_every_quantity_has_a_measure():
    assert set(_MEASURES) == set(QUANTITIES)


def test_orders_count_the_pairs_that_ours_has_the_same_way_round(ordered):
    """The fixture's accuracies follow WORTH: resnet14 0.955, resnet8 0.93, letters 0.90."""
    best, middle, last = "digits_low_resnet14", "digits_low_resnet8", "letters_resnet8"
    table = ordered(best, middle, last, of="noise_accuracy")
    assert table["at"].to_list() == ["0.1", "0.2", "0.3"]
    assert set(table.select("agreeing", "pairs").rows()) == {(3, 3)}
    assert set(table["ours"]) == {f"{best} > {middle} > {last}"}
    assert set(ordered(last, best, middle, of="mask_accuracy")["agreeing"]) == {1}
    grouped = ordered(middle, [best, last], of="fgsm_accuracy")
    assert set(grouped.select("agreeing", "pairs", "share").rows()) == {(1, 2, 0.5)}
    assert grouped["printed"][0] == f"{middle} > {best}, {last}"


def test_orders_of_figures_that_are_better_low_are_turned_round(ordered, tables, tmp_path):
    """The fixture has equal distances, which agree with no order; energies are made to differ."""
    ties = ordered("letters_resnet8", "random_resnet8", of="finetuned_distance", recipe="gentle")
    assert set(ties["agreeing"]) == {0}
    rows = polars.read_parquet(tables / "minimisers.parquet").filter(probe="energy", measure="loss")
    flat = rows.with_columns(
        value=polars.when(polars.col("model") == "letters_resnet8").then(0.1).otherwise(0.7)
    )
    write_table("minimisers", flat, tmp_path / "minimisers.parquet")
    found = ordered("letters_resnet8", "digits_low_resnet8", of="local_energy", folder=tmp_path)
    assert set(found["share"]) == {1.0}


def test_orders_take_in_training_loss_source_accuracy_and_targets(ordered, tables, tmp_path):
    epochs = [
        {"stage": "pretrain", "model": model, "epoch": epoch, "train_loss": loss}
        for model, epoch, loss in (("a", 1, 0.1), ("a", 2, 0.9), ("b", 2, 0.5))
    ]
    from xferpipe.records import frame, write_table

    write_table("epochs", frame("epochs", epochs), tmp_path / "epochs.parquet")
    assert ordered("b", "a", of="train_loss", folder=tmp_path)["share"].to_list() == [1.0]
    assert ordered("b", "nobody", of="train_loss", folder=tmp_path).is_empty()
    tied = ordered("letters_resnet8", "shapes_resnet8", of="source_accuracy")
    assert tied["share"].to_list() == [0.0]
    found = ordered("digits_low_resnet14", "random_resnet8", of="finetuned", recipe="gentle")
    assert set(found["at"]) == {"digits_high", "digits_few", "vehicles"}
    assert set(found["share"]) == {1.0}


@pytest.mark.parametrize(
    ("quantity", "figure"),
    [
        ("finetuned", {"model": "m"}),
        ("source_accuracy", {"model": "m", "target": "t"}),
        ("distance_over_norm", {"against": "m"}),
        ("scoring_share", {}),
    ],
)
def test_published_figure_that_is_named_wrongly_is_an_error(quantity, figure):
    table = {"title": "t", "quantity": quantity, "comparable": "c"}
    with pytest.raises(ValidationError, match="is named by"):
        Report(published=[table | {"figures": [figure | {"value": 0.5}]}])


def test_published_names_must_be_those_of_the_study():
    table = {"title": "t", "quantity": "source_accuracy", "comparable": "c"}
    table["figures"] = [{"model": "resnet8_digits", "against": "nobody", "value": 0.5}]
    with pytest.raises(StudyError, match=r"report\.published\.against: 'nobody' is not defined"):
        load_study(DIGITS | {"report": {"published": [table]}})
    order = {"finding": "f", "property": "finetuned", "models": ["resnet8_digits", "x"]}
    with pytest.raises(StudyError, match="'recipe' goes with property"):
        load_study(DIGITS | {"report": {"orders": [order]}})
    with pytest.raises(StudyError, match=r"report\.orders\.models: 'x' is not defined"):
        load_study(DIGITS | {"report": {"orders": [order | {"recipe": "sgd"}]}})


def test_run_speeds_give_the_first_epoch_there_and_where_weights_end(tables):
    """Training accuracies of the fixture are 0.5, 0.75, ..., 1 - 0.5^6 in six epochs."""
    for level, epochs in ((0.5, 1), (0.75, 2), (0.95, 5), (0.99, None)):
        job = ReportJob(study="s", selection=Selection(speed_train_accuracy=level))
        found = run_speeds(load(job, result_files(tables)))
        assert found.height == 144
        row = found.row(0, named=True)
        assert (row["epochs"], row["shown"]) == (epochs, epochs or 6)
        assert (row["distance"], row["distance_without_normalisation"]) == (6.0, 5.4)


def test_speed_figure_counts_the_runs_that_never_get_there(tables):
    from xferpipe.report.charts import speed

    for level, reached in ((0.95, 72), (0.99, 0)):
        job = ReportJob(study="s", selection=Selection(speed_train_accuracy=level))
        (figure,) = speed.figures(load(job, result_files(tables)))
        assert figure.data["epochs"].count() == reached
        assert {panel.label.split(" \u00b7 ")[1] for panel in figure.panels} == {"gentle"}
        assert f"{72 - reached} of 72 runs" in figure.caption
        assert len(figure.panels) == 3
