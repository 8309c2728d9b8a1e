"""Models by the words that a person gives."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from xferpipe.cli import named_models
from xferpipe.cli.named_models import PACKAGES, entries_of, entry_of, usual_models
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.known_models import row_of
from xferpipe.config.zoo import ZooEntry


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "mine" / "model.safetensors"
    path.parent.mkdir()
    save_file({"a": torch.zeros(1)}, path)
    return path


def test_torchvision_name_is_the_entry_of_its_newest_weights():
    assert entry_of("resnet50") == {
        "resnet50": {"architecture": "resnet50", "weights": "torchvision", "name": "IMAGENET1K_V2"}
    }


def test_torchvision_name_may_say_its_weights():
    (name,) = entry_of("resnet50.IMAGENET1K_V1")
    assert name == "resnet50.IMAGENET1K_V1"
    assert entry_of(name)[name]["name"] == "IMAGENET1K_V1"


def test_timm_name_is_fed_as_timm_says_of_these_weights():
    import timm

    own = timm.get_pretrained_cfg("vit_base_patch16_224.augreg_in21k")
    (entry,) = entry_of("timm:vit_base_patch16_224.augreg_in21k").values()
    assert (entry["name"], entry["licence"]) == ("augreg_in21k", own.license)
    fed = ModelSpec.of(ZooEntry.model_validate(entry))
    assert (fed.mean, fed.std) == (tuple(own.mean), tuple(own.std))
    assert (fed.image_px, fed.crop_pct) == (own.input_size[1], own.crop_pct)
    assert fed.interpolation == own.interpolation
    assert list(entry_of("timm:resnet18")) == ["resnet18.a1_in1k"]


@pytest.mark.parametrize("word", ["cifar_resnet8", "timm:resnet14t_none", "timm:test_vit4"])
def test_name_without_weights_is_no_model_to_start_from(word):
    with pytest.raises(ValueError, match=r"is unknown|there are no pretrained weights of it"):
        entry_of(word)


def test_model_that_cannot_be_used_says_why():
    with pytest.raises(ValueError, match="cannot be used: it has several classifiers"):
        entry_of("timm:deit_tiny_distilled_patch16_224")


def test_lite_stands_for_the_three_packages_under_the_names_of_the_history():
    found = entry_of("lite")
    assert list(found) == ["lite0_imagenet", "lite1_imagenet", "lite2_imagenet"]
    assert [entry["name"] for entry in found.values()] == list(PACKAGES.values())
    assert entry_of("efficientnet_lite1") == {"lite1_imagenet": found["lite1_imagenet"]}
    # results-imagenet.csv of timm: top-1 of tf_efficientnet_lite0, 1 and 2.
    published = [74.830, 76.644, 77.464]
    for entry, percent in zip(found.values(), published, strict=True):
        assert ZooEntry.model_validate(entry).source_accuracy == pytest.approx(percent / 100)


@pytest.mark.parametrize(
    ("word", "weights", "side"),
    [("dinov2", "lvd142m", 224), ("siglip", "webli", 224), ("clip", "openai", 224)],
)
def test_word_for_a_foundation_backbone_is_its_base_size(word, weights, side):
    (entry,) = entry_of(word).values()
    assert entry["name"] == weights
    checked = ZooEntry.model_validate(entry)
    assert ModelSpec.of(checked).image_px == side
    assert 80e6 < row_of(checked).parameters < 100e6
    # OpenAI's weights were trained with the approximate GELU.
    assert ("quickgelu" in entry["architecture"]) == (word == "clip")
    assert entry_of(f"{entry['architecture']}.{weights}").keys() == entry_of(word).keys()


def test_package_that_is_not_installed_says_how_to_have_it(monkeypatch):
    monkeypatch.setattr(named_models, "is_installed", lambda package: "lite2" not in package)
    assert usual_models() == ["small"]
    with pytest.raises(
        ValueError, match="efficientnet_lite2 needs the package efficientnet-lite2-"
    ):
        entry_of("lite")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("resnet51", "resnet50"),
        ("timm:resnet51", "timm:resnet50"),
        ("efficientnet_lite5", "efficientnet_lite0"),
        ("smal", "small"),
        ("convnext_tinny", "convnext_tiny"),
        ("vit_base_patch16_clip_24", "timm:vit_base_patch16_clip_224"),
    ],
)
def test_unknown_name_is_told_with_the_nearest_ones(word, meant):
    with pytest.raises(ValueError, match=f"'{word}' is unknown; did you mean ") as error:
        entry_of(word)
    suggested = str(error.value).partition("did you mean ")[2].partition("?")[0].split(", ")
    assert meant in suggested


def test_name_that_is_like_none_is_told_with_what_is_expected():
    with pytest.raises(ValueError, match="is unknown; Expected small, lite, dinov2, siglip, cl"):
        entry_of("0123")


def test_weights_that_timm_does_not_have_are_told_with_those_that_it_has():
    with pytest.raises(ValueError, match=r"no weights 'a9' of resnet18.*; it has: a1_in1k, "):
        entry_of("timm:resnet18.a9")


def test_file_with_the_name_of_its_architecture_is_fed_as_that(weights):
    (entry,) = entry_of(f"{weights}@timm:tf_efficientnet_lite0").values()
    assert entry == {
        "architecture": "timm:tf_efficientnet_lite0",
        "weights": "file",
        "name": str(weights),
    }
    assert ModelSpec.of(ZooEntry.model_validate(entry)).mean == (0.5, 0.5, 0.5)
    (plain,) = entry_of(f"{weights}@resnet18").values()
    assert plain["architecture"] == "resnet18"
    ZooEntry.model_validate(plain)


@pytest.mark.parametrize("as_folder", [True, False])
def test_configuration_of_timm_beside_a_file_says_its_architecture(weights, as_folder):
    own = {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2], "num_classes": 5}
    content = {"architecture": "resnet18", "num_classes": 5, "pretrained_cfg": own}
    (weights.parent / "config.json").write_text(json.dumps(content))
    given = weights.parent if as_folder else weights
    assert entry_of(str(given)) == {
        "mine" if as_folder else "model": {
            "architecture": "timm:resnet18",
            "mean": own["mean"],
            "std": own["std"],
            "weights": "file",
            "name": str(weights),
        }
    }


def test_export_of_another_study_is_built_and_fed_as_there(weights):
    spec = {
        "architecture": "cifar_resnet8",
        "width": 4,
        "norm": "group",
        "block_order": "original",
        "mean": [0.3, 0.3, 0.3],
        "std": [0.4, 0.4, 0.4],
        "image_px": None,
    }
    content = {"xferpipe": {"spec": spec, "task": "classification"}}
    (weights.parent / "config.json").write_text(json.dumps(content))
    (entry,) = entry_of(str(weights.parent)).values()
    checked = ZooEntry.model_validate(entry)
    assert (checked.width, checked.norm, checked.mean) == (4, "group", (0.3, 0.3, 0.3))


@pytest.mark.parametrize(
    ("content", "behind", "words"),
    [
        (None, "", "model.safetensors: of which architecture\\? Write "),
        ("{}", "", "config.json names no architecture"),
        ("[1]", "", "config.json names no architecture"),
        ("{", "", "config.json names no architecture"),
        (None, "@timm:resnet19", "did you mean .*timm:resnet1"),
        (None, "@resnet19", "did you mean resnet1"),
    ],
)
def test_file_of_unknown_architecture_says_what_is_missing(weights, content, behind, words):
    if content is not None:
        (weights.parent / "config.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        entry_of(f"{weights}{behind}")


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file of weights"):
        entry_of(f"{tmp_path}/none.safetensors@resnet18")


@pytest.mark.parametrize("ending", [".pth", ".pth.tar", ".ckpt", ".anything", ".safetensors"])
def test_file_of_any_ending_is_one_where_its_architecture_stands_behind_it(tmp_path, ending):
    path = tmp_path / f"run-1{ending}"
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    name = "run-1" if ending != ".anything" else "run-1.anything"
    assert entry_of(f"{path}@resnet18")[name]["name"] == str(path)


def test_sharded_weights_are_their_index_by_file_or_folder(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "model-1.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    assert entry_of(f"{index}@resnet18")["model"]["name"] == str(index)
    assert entry_of(f"{tmp_path}@resnet18")[tmp_path.name]["name"] == str(index)


def test_file_that_is_no_weights_is_told_as_the_plan_tells_it(tmp_path):
    path = tmp_path / "page.pth"
    path.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(ValueError, match=r"page\.pth: is a web page and not the weights"):
        entry_of(f"{path}@resnet18")


def test_two_files_of_one_name_are_refused_and_one_file_twice_is_one_model(weights):
    other = weights.parent.parent / weights.name
    other.write_bytes(weights.read_bytes())
    words = [f"{path}@resnet18" for path in (weights, other)]
    with pytest.raises(ValueError, match="two models are called model; rename one"):
        entries_of(words)
    assert list(entries_of([words[0], "small", words[0]])) == ["model"]
