"""The features stage, and zoo entries that are drawn or loaded."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import read_table
from xferpipe.stages.features import features
from xferpipe.zoo.architectures.cifar_resnet import CifarResNet
from xferpipe.zoo.weights import save_weights


def probe(stages, model: str) -> dict:
    weights = stages.weights(model)
    out = stages.folder / f"{model}_features.safetensors"
    job = stages.jobs("features", "digits", "full", model)
    features(job, **stages.images("digits"), weights=weights, features=out)
    with safe_open(out, framework="pt") as file:
        assert float(file.metadata()["seconds"]) > 0
    return load_file(out)


def test_features_are_those_of_training_images_with_their_labels(stages):
    found = probe(stages, "trained")
    rows = read_manifest(stages.images("digits")["manifest"])
    chosen = rows[found["rows"].tolist()]
    assert set(chosen["split"]) == {"train"}
    assert chosen["label"].to_list() == found["labels"].tolist()
    assert torch.bincount(found["labels"]).tolist() == [5, 5, 5]
    assert found["features"].shape == (15, 16)
    assert found["logits"].shape == (15, 3)
    assert found["features"].dtype == torch.float32


def test_random_entry_has_no_source_logits_and_no_class_means(stages):
    found = probe(stages, "drawn")
    assert found["logits"].shape == (15, 0)
    means = load_file(stages.folder / "drawn/class_means.safetensors")
    assert means["class_means"].shape == (0, 16)
    assert means["class_counts"].shape == (0,)
    card = read_table("zoo", stages.folder / "drawn/card.parquet").row(0, named=True)
    assert (card["weights"], card["source"], card["source_accuracy"]) == ("random", None, None)


def test_features_that_are_no_numbers_are_an_error_that_names_the_first_row(stages):
    from xferpipe.zoo.weights import load_model

    job = stages.jobs("features", "digits", "full", "drawn")
    model = load_model(job.spec, stages.weights("drawn"))
    with torch.no_grad():
        model.conv1.weight[0, 0, 0, 0] = torch.nan
    broken, out = stages.folder / "broken.safetensors", stages.folder / "out.safetensors"
    save_weights(model, broken)
    with pytest.raises(ValueError, match="model drawn gives NaN or infinite features"):
        features(job, **stages.images("digits"), weights=broken, features=out)
    assert not out.exists()


def test_entry_of_a_file_is_the_model_that_was_saved(stages):
    from xferpipe.zoo.build import build_model

    spec = stages.jobs("load_weights", "drawn").spec
    model = build_model(spec, 4, seed=9)
    save_weights(model, stages.folder / "own.safetensors")
    stages.study["zoo"]["own"] = {
        "architecture": "cifar_resnet8",
        "width": 4,
        "weights": "file",
        "name": str(stages.folder / "own.safetensors"),
    }
    state = load_file(stages.weights("own"))
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert probe(stages, "own")["logits"].shape == (15, 4)


@pytest.fixture
def sides(monkeypatch) -> list[int]:
    """Sides in pixels of the images that CIFAR ResNets get."""
    seen: list[int] = []
    forward = CifarResNet.forward

    def noted(self, images):
        seen.append(images.shape[-1])
        return forward(self, images)

    monkeypatch.setattr(CifarResNet, "forward", noted)
    return seen


def test_entry_with_a_side_of_its_own_is_fed_at_it(stages, sides):
    stages.study["zoo"]["drawn"]["image_px"] = 24
    probe(stages, "drawn")
    assert set(sides) == {24}
    sides.clear()
    stages.finetune()
    assert set(sides) == {24}
    # A recipe's size wins over the entry's.
    sides.clear()
    stages.study["finetuning_recipes"]["sgd"] |= {"train_resize_size": 12, "val_resize_size": 12}
    stages.finetune(where="sized")
    assert set(sides) == {12}


def test_reference_network_is_fed_at_the_side_that_its_hyperrule_gives(stages, sides):
    stages.study["finetuning_recipes"]["rule"] = {"preset": "bit_hyperrule"}
    stages.study["scores"] = {"reference": {"model": "drawn", "recipe": "rule"}}
    job = stages.jobs("reference", "digits", "full")
    weights, output = stages.weights("drawn"), stages.folder / "reference.safetensors"
    features(job, **stages.images("digits"), weights=weights, features=output)
    # The rule's crop of small images.
    assert set(sides) == {128}
