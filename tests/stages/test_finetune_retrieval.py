"""Fine-tuning of a retrieval target: its epoch is chosen by mAP of held-out identities."""

from __future__ import annotations

import numpy
import polars
import pytest
import torch
from tests.retrieval.by_hand import ap_by_hand

from xferpipe.config.load import StudyError, load_study
from xferpipe.config.recipes import Recipe
from xferpipe.datasets import splits
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.generated.vehicles import write
from xferpipe.datasets.images import open_images
from xferpipe.datasets.manifest import read_manifest
from xferpipe.datasets.rankable import check_rankable
from xferpipe.graph.stages import job_of
from xferpipe.records import read_table, write_table
from xferpipe.stages.finetune import finetune
from xferpipe.stages.manifest import manifest
from xferpipe.stages.pack import pack
from xferpipe.training.evaluate import embed
from xferpipe.training.labelled import LabelledImages
from xferpipe.zoo.build import outputs_of
from xferpipe.zoo.weights import load_model

OUTPUTS = (
    *("run", "epochs", "predictions", "class_recalls", "validation_queries"),
    "feature_correlation",
)


@pytest.fixture(scope="module")
def cars(tmp_path_factory):
    """Folder of a small drawn set with its manifest and packed images, and its block of a study."""
    folder = tmp_path_factory.mktemp("cars")
    block = {"train_identities": 8, "test_identities": 2, "cameras": 2, "images_per_camera": 3}
    block |= {"image_px": 16}
    return folder, {"reader": "veri776", "image_px": 16, "generate": block}


@pytest.fixture
def tuned(stages, cars):
    """Fine-tune on the cars; returns the row, the folder written, and the job."""
    folder, block = cars

    def run(shots="full", *, target=None, recipe=None, where="run"):
        stages.study["datasets"]["cars"] = block
        stages.study["targets"]["cars"] = {"dataset": "cars", "task": "retrieval"} | (target or {})
        stages.study["finetuning_recipes"]["sgd"] = {"epochs": 4, "batch_size": 8, "lr": 0.05}
        stages.study["finetuning_recipes"]["sgd"] |= recipe or {}
        stages.study["finetunes"][0]["targets"] = ["cars"]
        study = load_study(stages.study)
        listed, packed = folder / "rows.parquet", folder / "images.npy"
        if not packed.exists():
            write("veri776", study.datasets["cars"].generate, folder / "root", 0)
            manifest(
                job_of(study, "manifest", "cars"),
                root=folder / "root",
                manifest=listed,
                findings=folder / "findings.parquet",
            )
            pack(
                job_of(study, "pack", "cars"),
                manifest=listed,
                root=folder / "root",
                images=packed,
            )
        out = stages.folder / where
        job = job_of(study, "finetune", "cars", shots, "drawn", "sgd", "0")
        finetune(
            job,
            manifest=listed,
            images=packed,
            root=folder / "root",
            initial=stages.weights("drawn"),
            checkpoint=out / "checkpoint.pt",
            weights=out / "weights.safetensors",
            **{name: out / f"{name}.parquet" for name in OUTPUTS},
        )
        return read_table("finetunes", out / "run.parquet").row(0, named=True), out, job

    run.folder = folder
    return run


def test_finetune_map_is_that_of_the_saved_weights_on_the_held_out_identities(tuned):
    found, out, job = tuned()
    rows = read_manifest(tuned.folder / "rows.parquet")
    held_out = splits.validation_rows(rows, job.target, job.study_seed)
    opened = open_images(rows, tuned.folder / "images.npy", None, 16)
    model = load_model(job.spec, out / "weights.safetensors")
    part = LabelledImages(opened, held_out.rows, held_out.labels, job.spec, torch.device("cpu"))
    features = torch.nn.functional.normalize(embed(model, part)[0].double()).numpy()
    images = rows[held_out.rows]
    expected = ap_by_hand(features, images["identity"].to_list(), images["camera"].to_list())
    queries = read_table("validation_queries", out / "validation_queries.parquet")
    assert queries["row"].to_list() == held_out.rows.tolist()
    assert queries["ap"].to_list() == pytest.approx(expected, abs=1e-6)
    assert queries.select("identity", "camera").equals(images.select("identity", "camera"))
    assert found["validation_map"] == pytest.approx(queries["ap"].mean())
    assert found["validation_images"] == len(held_out) == 12
    assert found["train_images"] == 36
    assert outputs_of(model) == 6


def test_finetune_epoch_is_the_best_by_map_and_class_figures_are_null(tuned):
    found, out, _ = tuned()
    epochs = read_table("epochs", out / "epochs.parquet")
    figures = epochs["validation_map"].to_list()
    assert found["kept_epoch"] == found["best_epoch"] == figures.index(max(figures)) + 1
    assert found["validation_map"] == max(figures)
    assert found["drop"] == max(figures) - figures[-1]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "loss"):
        assert found[f"validation_{name}"] is None
    assert epochs["validation_accuracy"].null_count() == 4
    assert found["train_accuracy"] > 0
    assert found["judged_by"] == "map"
    for name in ("predictions", "class_recalls"):
        assert read_table(name, out / f"{name}.parquet").is_empty()


def test_finetune_linear_probe_ranks_the_features_that_it_does_not_change(tuned):
    found, out, _ = tuned(recipe={"cache_features": True, "train_layers": "head"})
    figures = read_table("epochs", out / "epochs.parquet")["validation_map"]
    assert figures.n_unique() == 1
    assert (found["kept_epoch"], found["validation_map"]) == (1, figures[0])


def test_finetune_within_shots_looks_at_no_further_image_of_held_out_identities(tuned):
    found, out, _ = tuned("3", target={"validation": "within_shots"})
    assert (found["train_images"], found["validation_images"]) == (18, 6)
    queries = read_table("validation_queries", out / "validation_queries.parquet")
    assert queries["identity"].value_counts()["count"].to_list() == [3, 3]


def test_finetune_from_one_shot_that_keeps_the_last_epoch_needs_no_validation(tuned):
    within = {"validation": "within_shots"}
    found, out, _ = tuned("1", target=within, recipe={"select": "last"})
    assert (found["validation_images"], found["validation_map"]) == (0, None)
    assert (found["selected_on"], found["kept_epoch"]) == ("none", 4)
    assert read_table("validation_queries", out / "validation_queries.parquet").is_empty()


def test_finetune_of_a_retrieval_target_that_diverges_has_no_map(tuned):
    found, out, _ = tuned(recipe={"lr": 1e30, "momentum": 0.0})
    assert (found["status"], found["validation_map"]) == ("diverged", None)
    assert read_table("validation_queries", out / "validation_queries.parquet").is_empty()


def test_finetune_twice_gives_the_same_queries(tuned):
    first, second = (tuned(where=where)[1] for where in "ab")
    one, other = (
        polars.read_parquet(out / "validation_queries.parquet") for out in (first, second)
    )
    assert one.equals(other)


def test_model_as_it_is_keeps_its_weights_and_is_judged_by_the_held_out_identities(tuned, stages):
    found, out, job = tuned(recipe={"epochs": 0}, where="as_it_is")
    saved = load_model(job.spec, out / "weights.safetensors").state_dict()
    initial = load_model(job.spec, stages.weights("drawn")).state_dict()
    assert saved.keys() == initial.keys()
    assert all(torch.equal(saved[name], value) for name, value in initial.items())
    assert (found["epochs"], found["train_images"], found["kept_epoch"]) == (0, 0, 0)
    assert (found["status"], found["selected_on"]) == ("finished", "none")
    rows = read_manifest(tuned.folder / "rows.parquet")
    held_out = splits.validation_rows(rows, job.target, job.study_seed)
    opened = open_images(rows, tuned.folder / "images.npy", None, 16)
    model = load_model(job.spec, stages.weights("drawn"))
    part = LabelledImages(opened, held_out.rows, held_out.labels, job.spec, torch.device("cpu"))
    features = torch.nn.functional.normalize(embed(model, part)[0].double()).numpy()
    images = rows[held_out.rows]
    expected = ap_by_hand(features, images["identity"].to_list(), images["camera"].to_list())
    assert found["validation_map"] == pytest.approx(sum(expected) / len(expected), abs=1e-6)


def test_model_as_it_is_needs_no_training_images(tuned, stages, tmp_path):
    tuned()  # Lists and packs the images.
    rows = read_manifest(tuned.folder / "rows.parquet")
    tested = rows.filter(polars.col("split") != "train")
    listed, packed = tmp_path / "rows.parquet", tmp_path / "images.npy"
    numpy.save(packed, numpy.load(tuned.folder / "images.npy")[tested["row"].to_numpy()])
    tested = tested.with_columns(row=polars.int_range(polars.len()))
    write_table("manifest", tested, listed)
    stages.study["finetuning_recipes"]["sgd"] = {"epochs": 0}
    study = load_study(stages.study)
    job = job_of(study, "finetune", "cars", "full", "drawn", "sgd", "0")
    assert not job.ranked.trained
    places = {name: tmp_path / f"{name}.parquet" for name in OUTPUTS}
    finetune(
        job,
        manifest=listed,
        images=packed,
        root=tuned.folder / "root",
        initial=stages.weights("drawn"),
        checkpoint=tmp_path / "checkpoint.pt",
        weights=tmp_path / "weights.safetensors",
        **places,
    )
    found = read_table("finetunes", places["run"]).row(0, named=True)
    assert (found["validation_images"], found["validation_map"]) == (0, None)
    stages.study["finetuning_recipes"]["sgd"] = {"epochs": 1}
    trained = job_of(load_study(stages.study), "finetune", "cars", "full", "drawn", "sgd", "0")
    with pytest.raises(DatasetError, match=r"no train images.*epochs: 0"):
        check_rankable(tested, trained.ranked, where="cars")


def test_target_that_is_only_evaluated_gets_no_scores(stages, cars):
    stages.study["datasets"]["cars"] = cars[1]
    stages.study["targets"]["cars"] = {"dataset": "cars", "task": "retrieval"}
    stages.study["finetunes"] = [{"recipes": ["sgd"], "targets": ["cars"]}]
    places = []
    for epochs in (1, 0):
        stages.study["finetuning_recipes"]["sgd"] = {"epochs": epochs}
        places.append(("cars", "full") in load_study(stages.study).scored())
    assert places == [True, False]


def test_recipe_without_epochs_is_for_rankings_alone(stages):
    stages.study["finetuning_recipes"]["sgd"] = {"epochs": 0}
    with pytest.raises(StudyError, match="epochs: 0 ranks a gallery with the model as it is"):
        load_study(stages.study)
    with pytest.raises(ValueError, match="epochs: 0 evaluates the model as it is, so surgery"):
        Recipe(epochs=0, surgery={"head": "linear"})


def test_fraction_of_zero_trains_on_all_identities_and_keeps_the_last_epoch(tuned):
    found, *_ = tuned(target={"validation_fraction": 0}, recipe={"select": "last"}, where="on_all")
    assert (found["train_images"], found["validation_images"]) == (48, 0)
    assert (found["kept_epoch"], found["selected_on"], found["validation_map"]) == (4, "none", None)
    with pytest.raises(StudyError, match=r"select: best, but .* has validation_fraction: 0"):
        tuned(target={"validation_fraction": 0})
