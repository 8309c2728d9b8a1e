"""Channels last: where it is taken, and that it changes no feature."""

from __future__ import annotations

import pytest
import torch

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import build_model
from xferpipe.zoo.feature_pass import features_and_logits
from xferpipe.zoo.memory_format import in_channels_last
from xferpipe.zoo.weights import load_model, save_weights

HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def first_convolution(model):
    return next(one for one in model.modules() if isinstance(one, torch.nn.Conv2d)).weight


@pytest.mark.parametrize("architecture", ["mobilenet_v3_small", "timm:tf_efficientnet_lite0"])
def test_loaded_model_computes_in_channels_last_what_it_computes_in_the_other_order(
    tmp_path, architecture
):
    spec = ModelSpec(architecture=architecture, width=16, **HALF)
    model = build_model(spec, 7, seed=1).eval()
    save_weights(model, tmp_path / "weights.safetensors")
    loaded = load_model(spec, tmp_path / "weights.safetensors")
    assert first_convolution(loaded).is_contiguous(memory_format=torch.channels_last)
    assert not first_convolution(model).is_contiguous(memory_format=torch.channels_last)
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        pairs = zip(features_and_logits(model, images), features_and_logits(loaded, images))
        for one, other in pairs:
            assert one.std() > 0
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * one.std().item())


@pytest.mark.parametrize(("width", "safe"), [(4, False), (16, True)])
def test_narrow_strided_convolutions_keep_the_other_order(width, safe):
    spec = ModelSpec(architecture="cifar_resnet8", width=width, **HALF)
    model = build_model(spec, 3)
    assert in_channels_last(model) == safe
    assert first_convolution(model).is_contiguous(memory_format=torch.channels_last) == safe
