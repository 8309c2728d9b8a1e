"""How a model's images are prepared: by the entry, else by the model's own configuration."""

from __future__ import annotations

import pytest

from xferpipe.config import known_models
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.known_models import UnknownModelError, known, preprocessing
from xferpipe.config.zoo import ZooEntry

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def fed(**content):
    return preprocessing(ZooEntry.model_validate({"weights": "timm", **content}))


def test_configuration_of_the_weights_is_believed():
    found = fed(architecture="timm:vit_base_patch16_clip_224", name="openai")
    # The figures of OpenAI's CLIP, as in its code.
    assert found["mean"] == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert found["std"] == pytest.approx((0.2686, 0.2613, 0.2758), abs=1e-4)
    assert (found["image_px"], found["crop_pct"], found["interpolation"]) == (224, 0.9, "bicubic")


def test_entry_is_believed_more():
    own = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "image_px": 112}
    found = fed(architecture="timm:vit_base_patch16_clip_224", name="openai", **own)
    assert found["mean"] == (0.1, 0.2, 0.3)
    assert found["std"] == (0.4, 0.5, 0.6)
    # The whole of an image of the side that somebody wants.
    assert (found["image_px"], found["crop_pct"]) == (112, 1.0)
    cropped = fed(architecture="timm:vit_base_patch16_clip_224", name="openai", crop_pct=0.5)
    assert cropped["crop_pct"] == 0.5


def test_model_of_any_side_gets_that_of_the_data_set():
    found = fed(architecture="resnet50", weights="torchvision", name="IMAGENET1K_V2")
    assert (found["image_px"], found["crop_pct"], found["interpolation"]) == (None, 1.0, "bilinear")


def test_file_is_fed_as_the_usual_weights_of_its_architecture():
    found = fed(architecture="timm:tf_efficientnet_lite0", weights="file", name="my.pth")
    assert found["mean"] == found["std"] == (0.5, 0.5, 0.5)
    tagged = fed(architecture="timm:vit_base_patch16_224.mae", weights="file", name="my.pth")
    assert (tagged["mean"], tagged["std"]) == IMAGENET


@pytest.mark.parametrize("architecture", ["timm:tf_efficientnet_lite0", "cifar_resnet8"])
def test_network_that_learned_nothing_yet_is_fed_as_imagenet(architecture):
    found = fed(architecture=architecture, weights="random")
    assert (found["mean"], found["std"]) == IMAGENET


def test_slice_of_a_model_without_crop_is_what_it_was_before_there_were_crops():
    entry = ZooEntry(architecture="cifar_resnet8", weights="random", image_px=32)
    assert set(ModelSpec.of(entry).model_dump()) == {
        *("architecture", "width", "norm", "block_order", "mean", "std", "image_px")
    }
    clip = {"architecture": "timm:vit_base_patch16_clip_224", "weights": "timm", "name": "openai"}
    spec = ModelSpec.of(ZooEntry.model_validate(clip))
    assert spec.model_dump()["crop_pct"] == 0.9
    assert ModelSpec.model_validate(spec.model_dump()) == spec
    # As timm: int(224 / 0.9).
    assert spec.resize_px == 248


def test_table_is_read_without_the_libraries():
    import subprocess
    import sys

    code = (
        "import sys; from xferpipe.config.known_models import known; "
        "known('timm:resnet18'); known('resnet50', 'IMAGENET1K_V1'); known('cifar_resnet8'); "
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_name_that_the_table_lacks_is_looked_up_in_the_library(monkeypatch):
    for name in ("timm:resnet18", "resnet50"):
        row = known(name)
        monkeypatch.setattr(known_models, "listed", lambda *_: None)
        known.cache_clear()
        found = known(name)
        assert (found.weights, found.mean, found.side) == (row.weights, row.mean, row.side)
        assert (found.licence, found.data) == (row.licence, row.data)
        monkeypatch.undo()
    known.cache_clear()


@pytest.mark.parametrize(
    ("architecture", "weights", "words"),
    [
        ("timm:resnet51", None, "'timm:resnet51' is unknown; did you mean .*timm:resnet50"),
        ("resnet51", None, "'resnet51' is unknown; did you mean .*resnet50.*timm:resnet50"),
        ("timm:resnet18", "a1_ink1", "no weights 'a1_ink1' of resnet18 .*'a1_in1k'.*it has: a1_"),
        ("resnet50", "IMAGENET1K_V3", "no weights 'IMAGENET1K_V3' of resnet50 .*IMAGENET1K_V2"),
    ],
)
def test_unknown_name_is_told_with_the_nearest(architecture, weights, words):
    with pytest.raises(UnknownModelError, match=words):
        known(architecture, weights)
