"""What one image costs a model: counts by hand and published ones, and times that are times."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo import cost
from xferpipe.zoo.build import build_model


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 5),
    )


def test_counts_of_a_small_network_are_those_by_hand():
    found = cost.cost_of(small(), 8)
    # 64 positions x 4 kernels of 27 numbers; then 256 x 5. A bias is an addition alone.
    assert found.gmacs * 1e9 == pytest.approx(64 * 4 * 27 + 256 * 5)
    # float32 weights of convolution, norm (4 x 4) and linear layer, and an int64 counter.
    assert found.weights_mib * 2**20 == pytest.approx(4 * (108 + 16 + 1280 + 5) + 8)


@pytest.mark.parametrize(
    ("build", "published"),
    [
        ("resnet18", torchvision.models.ResNet18_Weights.IMAGENET1K_V1),
        # Attention, of which torch's fused kernels hide what they do.
        ("vit_b_16", torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1),
    ],
)
def test_multiply_adds_are_those_that_torchvision_publishes(build, published):
    model = torchvision.models.get_model(build).eval()
    assert cost.multiply_adds(model, 224) / 1e9 == pytest.approx(published.meta["_ops"], abs=1e-3)


def test_size_of_weights_is_that_of_the_published_file():
    found = cost.cost_of(torchvision.models.resnet18(), 32)
    published = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["_file_size"]
    assert found.weights_mib == pytest.approx(published, rel=2e-3)


def test_counting_leaves_the_model_as_it_was():
    model = small().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost.multiply_adds(model, 8)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_time_is_the_median_of_the_passes_after_the_warm_up(monkeypatch):
    # The clock is read before and after each pass: slow ones to warm up, then 2 ms, one of 9 s.
    spans = itertools.chain([5.0, 5.0, 5.0], [0.002, 0.002, 9.0], itertools.repeat(0.002))
    now = [0.0]
    readings = itertools.count()

    def clock() -> float:
        if next(readings) % 2:
            now[0] += next(spans)
        return now[0]

    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=clock))
    assert cost.milliseconds(small().eval(), 8) == pytest.approx(2.0)


def test_passes_end_when_the_time_is_up_but_not_before_a_few(monkeypatch):
    now, passes = [0.0], []

    def clock() -> float:
        now[0] += 10.0
        return now[0]

    model = small().eval()
    model.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=clock))
    assert cost.milliseconds(model, 8) == pytest.approx(10_000.0)
    assert len(passes) == 3 + 5


def test_side_that_a_model_cannot_pass_is_an_error():
    with pytest.raises(RuntimeError):
        cost.cost_of(small(), 16)


def test_a_classifier_without_classes_costs_nothing():
    spec = ModelSpec(architecture="cifar_resnet8", width=4, mean=(0,) * 3, std=(1,) * 3)
    none, ten = (cost.cost_of(build_model(spec, outputs), 16) for outputs in (0, 10))
    assert ten.gmacs * 1e9 - none.gmacs * 1e9 == pytest.approx(10 * 16)
