"""A whole run in which models rank as they are, and one target holds nothing out to choose on."""

from __future__ import annotations

import json

import polars
import pytest
from tests.retrieval.test_retrieve_command import command

pytestmark = [pytest.mark.slow, pytest.mark.workflow, pytest.mark.xdist_group("as_it_is")]

FIGURES = ("rank1", "rank5", "map", "minp")


@pytest.fixture(scope="module")
def ran(new_workflow, tmp_path_factory):
    """Two targets of one set: all models rank both; on one that keeps all images one is trained."""
    from tests.conftest import TINY

    study = json.loads(json.dumps(TINY)) | {
        "name": "as_it_is",
        "targets": {
            "asked": {"dataset": "vehicles", "task": "retrieval", "validation_fraction": 0.25},
            "trained_on": {"dataset": "vehicles", "task": "retrieval", "validation_fraction": 0},
        },
        "finetuning_recipes": {
            "sgd": {"epochs": 1, "batch_size": 16, "lr": 0.02, "select": "last"},
        },
        "finetunes": [{"targets": ["trained_on"], "models": ["drawn"], "recipes": ["sgd"]}],
        "retrieval": {"evaluate": "all", "keep_features": True},
    }
    del study["datasets"]["digits"]
    workflow = new_workflow(tmp_path_factory.mktemp("as_it_is"), study)
    workflow.run()
    return workflow


def table(workflow, name):
    return polars.read_parquet(workflow.results / "tables" / f"{name}.parquet")


def test_models_rank_as_they_are_and_one_is_trained_on_all_images(ran):
    runs = table(ran, "finetunes")
    assert set(runs["status"]) == {"finished"}
    places = runs.select("target", "model", "recipe").rows()
    assert sorted(places) == [
        ("asked", "drawn", "as_is"),
        ("asked", "trained", "as_is"),
        ("trained_on", "drawn", "as_is"),
        ("trained_on", "drawn", "sgd"),
        ("trained_on", "trained", "as_is"),
    ]
    # Chosen on held-out identities where there are some, and on nothing where there are none.
    held_out = {(row["target"], row["validation_map"] is not None) for row in runs.to_dicts()}
    assert held_out == {("asked", True), ("trained_on", False)}
    assert {*runs.select("recipe", "epochs").rows()} == {("as_is", 0), ("sgd", 1)}
    assert (ran.results / "report.html").stat().st_size > 50_000


def test_model_as_it_is_ranks_alike_on_two_targets_of_one_set(ran):
    """What is held out of the training images is nothing to queries and gallery."""
    found = table(ran, "retrieval").filter(recipe="as_is")
    by_target = [
        part.sort("model").select("model", *FIGURES)
        for part in found.partition_by("target", maintain_order=True)
    ]
    assert by_target[0].equals(by_target[1])
    assert len(by_target[0]) == 2
    drawn = table(ran, "retrieval").filter(target="trained_on", model="drawn")
    assert drawn["map"].n_unique() == 2  # A trained model is another one.


def test_target_that_nothing_trains_on_has_no_scores(ran):
    assert table(ran, "scores")["target"].unique().to_list() == ["trained_on"]


def test_features_that_a_run_keeps_give_its_figures_by_the_command(ran):
    for row in table(ran, "retrieval").iter_rows(named=True):
        place = [row[name] for name in ("target", "shots", "model", "recipe")]
        folder = ran.results.joinpath("retrieval", *place, f"seed{row['seed']}")
        sides = ("query", "gallery")
        files = [
            word for side in sides for word in (f"--{side}", folder / f"{side}_features.parquet")
        ]
        found = command(*files, "--normalised", "--json")
        assert found.exit_code == 0, found.stderr
        again = json.loads(found.stdout)
        assert {name: again[name] for name in FIGURES} == {name: row[name] for name in FIGURES}


def test_run_again_has_nothing_to_do(ran):
    assert ran.planned() == set()
