"""The pretraining stage: weights, card and class means of a zoo entry."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from xferpipe.datasets import splits
from xferpipe.datasets.images import open_images
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import read_table
from xferpipe.stages.pretrain import PretrainingError
from xferpipe.training.evaluate import embed, evaluate
from xferpipe.training.labelled import LabelledImages
from xferpipe.zoo.weights import load_model


def test_pretrain_card_and_class_means_are_those_of_the_saved_weights(stages):
    out = stages.pretrain()
    job = stages.jobs("pretrain", "trained")
    given = stages.images("source")
    rows = read_manifest(given["manifest"])
    opened = open_images(rows, given["images"], None, 16)
    model = load_model(job.spec, out / "weights.safetensors")

    def labelled(split: str) -> LabelledImages:
        part = splits.split_rows(rows, split)
        return LabelledImages(opened, part.rows, part.labels, job.spec, torch.device("cpu"))

    card = read_table("zoo", out / "card.parquet").row(0, named=True)
    assert card["source_accuracy"] == evaluate(model, labelled("test")).accuracy
    assert (card["source"], card["recipe"], card["source_classes"]) == ("source", "upstream", 3)
    means = load_file(out / "class_means.safetensors")
    assert means["class_counts"].sum() == card["source_images"]
    # The held-out images are not among them.
    assert card["source_images"] < len(labelled("train"))
    features, logits = embed(model, labelled("test"))
    assert means["class_means"].shape == (3, features.shape[1])
    assert logits.shape[1] == 3
    assert read_table("epochs", out / "epochs.parquet")["stage"].unique().to_list() == ["pretrain"]


def test_pretrain_from_another_entry_starts_at_its_weights(stages):
    start = stages.weights("drawn")
    stages.study["pretraining_recipes"]["upstream"] |= {"train_layers": "head"}
    out = stages.pretrain(initial=start)
    before, after = load_file(start), load_file(out / "weights.safetensors")
    for name, value in before.items():
        if not name.startswith("fc."):
            assert torch.equal(after[name], value)
    assert after["fc.weight"].shape[0] == 3


def test_pretrain_that_learned_nothing_says_so(stages, caplog):
    stages.study["pretraining_recipes"]["upstream"] |= {"lr": 1e-9, "epochs": 1}
    stages.pretrain()
    assert "trained has learned next to nothing" in caplog.text
    assert "guessing among 3 classes gives 0.333" in caplog.text


def test_pretrain_that_diverges_is_an_error_and_no_zoo_entry(stages):
    stages.study["pretraining_recipes"]["upstream"] |= {"lr": 1e30, "momentum": 0.0}
    with pytest.raises(PretrainingError, match=r"lower lr .*pretraining_recipes\.upstream"):
        stages.pretrain()
    assert not (stages.folder / "zoo").exists()
