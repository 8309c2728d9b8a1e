"""The recipes for foundation backbones, end to end on a small vision transformer."""

from __future__ import annotations

import numpy
import pytest
import torch
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsClassifier

from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import read_table
from xferpipe.stages.features import features
from xferpipe.zoo.weights import load_model

SHORT = {"epochs": 2, "lr_warmup_epochs": 0}
RECIPES = {
    "knn": {"preset": "knn"},
    "linear_probe": {"preset": "linear_probe", "epochs": 2},
    "lora": {"preset": "lora", **SHORT},
    "full": {"preset": "full_finetune", **SHORT},
}


@pytest.fixture
def transformer(stages):
    """Return what runs a recipe on a transformer with drawn weights."""
    entry = {"architecture": "timm:test_vit", "weights": "random", "image_px": 160}
    stages.study["zoo"]["vit"] = entry
    stages.study["finetuning_recipes"] |= RECIPES
    stages.study["finetunes"] = [{"recipes": list(RECIPES), "models": ["vit"]}]
    stages.study["probe"] = {"images_per_class": 1000}

    def run(recipe: str):
        from xferpipe.stages.finetune import finetune

        out = stages.folder / recipe
        names = ("run", "epochs", "predictions", "class_recalls", "validation_queries")
        finetune(
            stages.jobs("finetune", "digits", "full", "vit", recipe, "0"),
            **stages.images("digits"),
            initial=stages.weights("vit"),
            checkpoint=out / "checkpoint.pt",
            weights=out / "weights.safetensors",
            feature_correlation=out / "feature_correlation.parquet",
            **{name: out / f"{name}.parquet" for name in names},
        )
        return out

    return run


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_runs_on_a_transformer_and_moves_what_it_should(recipe, transformer, stages):
    out = transformer(recipe)
    row = read_table("finetunes", out / "run.parquet").row(0, named=True)
    assert (row["status"], row["reason"]) == ("finished", None)
    assert 0 <= row["test_accuracy"] <= 1
    before, after = (
        load_file(path / "weights.safetensors") for path in (stages.folder / "vit", out)
    )
    body = [name for name in before if not name.startswith("head.")]
    moved = [name for name in body if not torch.equal(before[name], after[name])]
    if recipe in ("knn", "linear_probe"):
        assert not moved
    elif recipe == "lora":
        assert any(name.endswith("qkv.weight") for name in moved)
        assert not [name for name in moved if "norm" in name or name.endswith("bias")]
    else:
        assert any("norm" in name for name in moved)
    # LoRA is merged, so that the file is a plain model's.
    assert not [name for name in after if "parametrizations" in name]


def test_votes_are_those_of_scikit_learn_over_the_features_of_the_training_images(
    transformer, stages
):
    out = transformer("knn")
    split = dict(read_manifest(stages.images("digits")["manifest"]).select("row", "split").rows())

    def seen(name: str) -> dict[str, numpy.ndarray]:
        """Return features of the probe images, which are all training images."""
        job = stages.jobs("features", "digits", "full", "vit")
        path = stages.folder / f"{name}.safetensors"
        features(
            job,
            **stages.images("digits"),
            weights=stages.folder / "vit/weights.safetensors",
            features=path,
        )
        return {key: value.numpy() for key, value in load_file(path).items()}

    train = seen("train")
    assert {split[row] for row in train["rows"].tolist()} == {"train"}
    model = load_model(stages.jobs("load_weights", "vit").spec, out / "weights.safetensors")
    held = model.get_submodule("head")
    assert len(held.features) == len(train["features"])
    reference = KNeighborsClassifier(
        20, metric="cosine", weights=lambda d: numpy.exp((1 - d) / 0.07)
    ).fit(train["features"], train["labels"])
    found = model.get_submodule("head")(torch.from_numpy(train["features"])).softmax(1).detach()
    expected = reference.predict_proba(train["features"])
    assert found.numpy() == pytest.approx(expected, abs=1e-3)
    (epoch,) = read_table("epochs", out / "epochs.parquet").rows(named=True)
    assert (epoch["train_loss"], epoch["learning_rate"], epoch["epoch"]) == (None, None, 1)
    predicted = read_table("predictions", out / "predictions.parquet")
    run = read_table("finetunes", out / "run.parquet").row(0, named=True)
    for name in ("validation", "test"):
        rows = predicted.filter(split=name)
        assert (rows["label"] == rows["predicted"]).mean() == pytest.approx(run[f"{name}_accuracy"])
