"""Transformers that are built for another side than their weights were trained on."""

from __future__ import annotations

import pytest
import torch

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import build_model, outputs_of
from xferpipe.zoo.origins import timm_weights, torchvision_weights

HALF = (0.5, 0.5, 0.5)


def spec(architecture, px):
    return ModelSpec(architecture=architecture, width=16, mean=HALF, std=HALF, image_px=px)


@pytest.mark.parametrize(
    ("architecture", "own"), [("timm:vit_tiny_patch16_224", 224), ("timm:resnet10t", None)]
)
def test_model_is_built_for_the_side_it_is_fed(architecture, own):
    model = build_model(spec(architecture, 96), 3).eval()
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, 3)
    usual = build_model(spec(architecture, None), 3).eval()
    if own is not None:
        with pytest.raises(AssertionError):
            usual(torch.zeros(1, 3, 96, 96))
    assert usual(torch.zeros(1, 3, 224, 224)).shape == (1, 3)


@pytest.mark.parametrize("classes", [0, 7])
def test_weights_of_timm_are_resampled_to_the_side(monkeypatch, tmp_path, classes):
    """A position embedding that is the same everywhere is so at any side."""
    import timm
    from timm.models import _builder

    name = "vit_tiny_patch16_224"
    state = timm.create_model(name, num_classes=classes).state_dict()
    one = torch.arange(192, dtype=torch.float32)
    state["pos_embed"] = one.expand(1, 197, 192).clone()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(_builder, "load_state_dict_from_hf", lambda *_, **__: dict(state))
    made = timm.create_model
    config = {"num_classes": classes} if classes == 0 else {"num_classes": 7}
    monkeypatch.setattr(
        timm, "create_model", lambda *a, **k: made(*a, pretrained_cfg_overlay=config, **k)
    )
    model, about = timm_weights.load(spec(f"timm:{name}", 96), "augreg_in21k")
    assert model.pos_embed.shape == (1, 37, 192)
    torch.testing.assert_close(model.pos_embed[0, 1:], one.expand(36, 192), rtol=0, atol=1e-3)
    assert outputs_of(model) == classes
    assert about["source_classes"] == (classes or None)


def test_weights_of_torchvision_are_resampled_to_the_side(monkeypatch):
    from torchvision import models

    with torch.device("meta"):
        state = models.vit_b_32(num_classes=1000).state_dict()
        monkeypatch.setattr(torchvision_weights, "_read", lambda _: state)
        for px, patches in ((224, 49), (96, 9), (None, 49)):
            model, _ = torchvision_weights.load(spec("vit_b_32", px), "IMAGENET1K_V1")
            assert model.encoder.pos_embedding.shape == (1, patches + 1, 768)
