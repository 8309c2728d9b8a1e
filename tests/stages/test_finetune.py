"""The fine-tuning stage: what it writes, and what becomes of runs that go wrong."""

from __future__ import annotations

import polars
import pytest
import torch
from safetensors.torch import load_file

from xferpipe.datasets import splits
from xferpipe.datasets.images import open_images
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import read_table
from xferpipe.training.data import LabelledImages
from xferpipe.training.evaluate import evaluate
from xferpipe.zoo.weights import WeightsError, load_model


def row(out) -> dict:
    return read_table("finetunes", out / "run.parquet").row(0, named=True)


def test_finetune_row_is_what_the_saved_weights_do_on_the_test_split(stages):
    out = stages.finetune()
    found = row(out)
    job = stages.jobs.finetune("digits", "full", "drawn", "sgd", "0")
    given = stages.images("digits")
    rows = read_manifest(given["manifest"])
    opened = open_images(rows, given["images"], None, 16)
    part = splits.test_rows(rows, job.target)
    model = load_model(job.spec, out / "weights.safetensors")
    test = LabelledImages(opened, part.rows, part.labels, job.spec, torch.device("cpu"))
    again = evaluate(model, test)
    assert (found["test_accuracy"], found["test_loss"]) == (again.accuracy, again.loss)
    assert (found["status"], found["selected_on"], found["task"]) == (
        "finished",
        "validation",
        "classification",
    )
    epochs = read_table("epochs", out / "epochs.parquet")
    kept = epochs.row(found["best_epoch"] - 1, named=True)
    assert kept["validation_accuracy"] == found["validation_accuracy"]
    assert epochs["epoch"].to_list() == [1, 2]
    assert not (out / "checkpoint.pt").exists()


def test_finetune_twice_gives_equal_tables_and_weights(stages):
    first, second = stages.finetune(where="a"), stages.finetune(where="b")
    timed = ["seconds", "images_per_second"]
    assert (
        polars.read_parquet(first / "run.parquet")
        .drop(timed)
        .equals(polars.read_parquet(second / "run.parquet").drop(timed))
    )
    one, other = (load_file(out / "weights.safetensors") for out in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_finetune_that_diverges_writes_a_row_that_says_so(stages):
    stages.study["finetuning_recipes"]["sgd"] |= {"lr": 1e30, "momentum": 0.0}
    found = row(stages.finetune())
    assert found["status"] == "diverged"
    assert "learning rate 1e+30" in found["reason"]
    assert found["test_accuracy"] is None
    assert found["validation_accuracy"] is None


def test_finetune_shots_train_on_that_many_images(stages):
    assert row(stages.finetune(shots="5"))["train_images"] == 15


def test_finetune_that_was_killed_goes_on_to_the_same_result(stages, monkeypatch):
    expected = stages.finetune(where="undisturbed")
    from xferpipe.training.checkpoint import Checkpoint

    monkeypatch.setenv("XFERPIPE_CHECKPOINT_SECONDS", "0")
    write, written = Checkpoint.write, []

    def die(self, state):
        write(self, state)
        written.append(1)
        if len(written) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", die)
    with pytest.raises(KeyboardInterrupt):
        stages.finetune(where="killed")
    out = stages.folder / "killed"
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.pt"]
    stages.finetune(where="killed")
    timed = ["seconds", "images_per_second"]
    for table in ("run", "epochs"):
        one = polars.read_parquet(expected / f"{table}.parquet")
        other = polars.read_parquet(out / f"{table}.parquet")
        drop = [name for name in timed if name in one.columns]
        assert one.drop(drop).equals(other.drop(drop))
    one, other = (load_file(folder / "weights.safetensors") for folder in (expected, out))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not (out / "checkpoint.pt").exists()


def test_finetune_of_weights_of_another_architecture_names_them_and_writes_nothing(stages):
    stages.study["zoo"]["drawn"]["architecture"] = "cifar_resnet14"
    path = stages.weights("drawn")
    stages.study["zoo"]["drawn"]["architecture"] = "cifar_resnet8"
    stages.weights = lambda model: path
    with pytest.raises(WeightsError, match="another architecture"):
        stages.finetune()
    assert not (stages.folder / "run").exists()


@pytest.mark.parametrize(
    "recipe",
    [
        {"preset": "linear_probe", "epochs": 5},
        {"surgery": {"head": "bnneck", "pooling": "gem"}},
        {
            "surgery": {"lora": {"rank": 2, "kinds": ["convolution"]}},
            "train_layers": ["head", "adapters"],
        },
        {"surgery": {"adapters": True}, "model_ema": True},
        {"preset": "bit_hyperrule", "steps": 2, "hyperrule": None, "lr_scheduler": "cosine"},
        {"label_smoothing": 0.1, "label_smoothing_over": "others", "cutmix_alpha": 1.0},
        {"preset": "s002_swa", "epochs": 4, "batch_size": 16},
    ],
)
def test_finetune_with_every_kind_of_recipe_writes_plain_weights(stages, recipe):
    stages.study["finetuning_recipes"]["sgd"] = {"epochs": 2, "batch_size": 16, **recipe}
    out = stages.finetune()
    assert row(out)["status"] == "finished"
    spec = stages.jobs.finetune("digits", "full", "drawn", "sgd", "0").spec
    names = load_model(spec, out / "weights.safetensors").state_dict()
    assert not any("parametrizations" in name for name in names)


def test_linear_probe_equals_training_the_head_behind_the_frozen_model(stages):
    """Cached features are those that the frozen model gives at every showing."""
    common = {"epochs": 3, "batch_size": 16, "lr": 0.1, "train_layers": "head"}
    heads = []
    for cached in (True, False):
        stages.study["finetuning_recipes"]["sgd"] = {**common, "cache_features": cached}
        out = stages.finetune(where=f"cached_{cached}")
        heads.append(load_file(out / "weights.safetensors"))
    for name, value in heads[0].items():
        assert torch.allclose(value, heads[1][name], atol=1e-5), name


@pytest.mark.slow
def test_finetune_in_two_processes_gives_the_row_of_one(stages):
    stages.study["zoo"]["drawn"]["norm"] = "group"
    rows = []
    for count in (1, 2):
        stages.study["finetuning_recipes"]["sgd"]["processes"] = count
        rows.append(row(stages.finetune(where=f"{count}")))
    for name in ("validation_loss", "test_loss"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-4)
    for name in ("status", "best_epoch", "train_images", "test_accuracy"):
        assert rows[0][name] == rows[1][name]
