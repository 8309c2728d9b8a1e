"""Fine-tuning of a retrieval target: its epoch is chosen by mAP of held-out identities."""

from __future__ import annotations

import polars
import pytest
import torch
from tests.retrieval.by_hand import ap_by_hand

from xferpipe.config.load import load_study
from xferpipe.datasets import splits
from xferpipe.datasets.generated.vehicles import write
from xferpipe.datasets.images import open_images
from xferpipe.datasets.manifest import read_manifest
from xferpipe.graph.stages import job_of
from xferpipe.records import read_table
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
    held_out = splits.validation_rows(rows, job.target, 0)
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
