"""Networks of re-identification: names, sizes and sums of those that published weights are for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.surgery import Surgery
from xferpipe.training.parameters import named
from xferpipe.zoo.build import anatomy_of, build_model, feature_dimension
from xferpipe.zoo.feature_pass import features_and_logits
from xferpipe.zoo.surgery import operate


def model_of(architecture: str, outputs: int = 10, **options) -> nn.Module:
    given = {"width": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3, **options}
    return build_model(ModelSpec(architecture=architecture, **given), outputs).eval()


def unsettled(model: nn.Module) -> nn.Module:
    """Give norms and statistics values that show whether they are used."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.InstanceNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return model


def instance_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    mean = x.mean((2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((2, 3), keepdim=True)
    scaled = (x - mean) / (variance + 1e-5).sqrt()
    return scaled * weight[:, None, None] + bias[:, None, None]


class Tensors:
    """Passes images by the published names of tensors, one operation after the other."""

    def __init__(self, model: nn.Module) -> None:
        self.state = model.state_dict()

    def convolution(self, x: torch.Tensor, name: str, **options) -> torch.Tensor:
        bias = self.state.get(f"{name}.bias")
        return functional.conv2d(x, self.state[f"{name}.weight"], bias, **options)

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = (self.state[f"{name}.{part}"] for part in ("weight", "bias"))
        if f"{name}.running_mean" not in self.state:
            return instance_norm(x, weight, bias)
        mean, variance = (self.state[f"{name}.running_{part}"] for part in ("mean", "var"))
        return functional.batch_norm(x, mean, variance, weight, bias)

    def layer(self, x: torch.Tensor, name: str, **options) -> torch.Tensor:
        return self.norm(self.convolution(x, f"{name}.conv", **options), f"{name}.bn")

    def light(self, x: torch.Tensor, name: str) -> torch.Tensor:
        x = self.convolution(x, f"{name}.conv1")
        x = self.convolution(x, f"{name}.conv2", padding=1, groups=x.shape[1])
        return self.norm(x, f"{name}.bn").relu()

    def osnet_block(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Transcribe figure 4 of arXiv 1905.00953, and the places of instance norms of both."""
        small = self.layer(x, f"{name}.conv1").relu()
        total = 0
        for t in range(4):
            stream = small
            for i in range(t + 1):
                inner = f".{i}" if t else ""
                plain = f"{name}.conv2{'abcd'[t]}{inner}"
                searched = f"{name}.conv2.{t}.layers.{i}"
                known = f"{plain}.conv1.weight" in self.state
                stream = self.light(stream, plain if known else searched)
            gate = stream.mean((2, 3), keepdim=True)
            gate = self.convolution(gate, f"{name}.gate.fc1").relu()
            total = total + stream * self.convolution(gate, f"{name}.gate.fc2").sigmoid()
        branch = self.convolution(total, f"{name}.conv3.conv")
        inside = f"{name}.conv3.bn.weight" not in self.state
        branch = self.norm(branch, f"{name}.IN" if inside else f"{name}.conv3.bn")
        if f"{name}.downsample.conv.weight" in self.state:
            x = self.layer(x, f"{name}.downsample")
        x = x + branch
        if not inside and f"{name}.IN.weight" in self.state:
            x = self.norm(x, f"{name}.IN")
        return x.relu()

    def osnet(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x, "conv1", stride=2, padding=3).relu()
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage in (2, 3, 4):
            for block in (0, 1):
                x = self.osnet_block(x, f"conv{stage}.{block}")
            if stage < 4:
                plain = f"conv{stage}.2.0"
                known = f"{plain}.conv.weight" in self.state
                x = self.layer(x, plain if known else f"pool{stage}.0").relu()
                x = functional.avg_pool2d(x, 2)
        x = self.layer(x, "conv5").relu().mean((2, 3))
        x = functional.linear(x, self.state["fc.0.weight"], self.state["fc.0.bias"])
        x = self.norm(x, "fc.1").relu()
        return functional.linear(x, self.state["classifier.weight"], self.state["classifier.bias"])


@pytest.mark.parametrize(
    ("width", "millions", "multiply_adds"),
    # Model zoo of torchreid, ImageNet models, images of 256 x 128.
    [("x1_0", 2.2, 978.9), ("x0_75", 1.3, 571.8), ("x0_5", 0.6, 272.9), ("x0_25", 0.2, 82.3)],
)
def test_osnet_is_as_large_as_published(width, millions, multiply_adds):
    model = model_of(f"osnet_{width}", 0)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(torch.zeros(1, 3, 256, 128))
    assert round(counted.get_total_flops() / 2e6, 1) == multiply_adds


@pytest.mark.parametrize("form", ["", "ibn_", "ain_"])
def test_osnet_computes_what_the_tensors_by_their_published_names_say(form):
    model = unsettled(model_of(f"osnet_{form}x0_5"))
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        assert torch.allclose(model(images), Tensors(model).osnet(images), atol=1e-4)


def test_instance_norms_of_osnet_stand_where_the_papers_put_them():
    def blocks(form: str) -> list[str]:
        names = model_of(f"osnet_{form}_x0_25", 0).state_dict()
        return sorted(name.removesuffix(".IN.weight") for name in names if ".IN.weight" in name)

    assert blocks("ibn") == ["conv2.0", "conv2.1"]
    # arXiv 1910.06827, table 1.
    assert blocks("ain") == ["conv2.0", "conv2.1", "conv3.1", "conv4.0"]


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("variant", ["a", "b"])
def test_ibn_resnet_has_the_tensors_of_the_authors_code(depth, variant):
    plain = set(model_of(f"resnet{depth}").state_dict())
    found = set(model_of(f"resnet{depth}_ibn_{variant}").state_dict())
    last = {18: 1, 50: (2, 3, 5)}[depth]
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    if variant == "a":
        gone = {n for n in plain if n[:6] in ("layer1", "layer2", "layer3") and ".bn1." in n}
        blocks = {name.rsplit(".", 1)[0] for name in gone}
        new = {f"{b}.IN.{part}" for b in blocks for part in ("weight", "bias")}
        new |= {f"{b}.BN.{part}" for b in blocks for part in ("weight", "bias", *statistics)}
    else:
        gone = {f"bn1.{part}" for part in statistics}
        ends = (1, 1) if last == 1 else last[:2]
        new = {
            f"layer{stage}.{end}.IN.{part}"
            for stage, end in zip((1, 2), ends, strict=True)
            for part in ("weight", "bias")
        }
    assert found == plain - gone | new


def test_half_of_the_channels_are_normalised_by_their_own_image():
    block = unsettled(model_of("resnet50_ibn_a")).layer2[0]
    x = torch.randn(3, 128, 5, 4)
    tensors = Tensors(block)
    halves = tensors.norm(x[:, :64], "bn1.IN"), tensors.norm(x[:, 64:], "bn1.BN")
    assert torch.allclose(block.bn1(x), torch.cat(halves, 1), atol=1e-5)


@pytest.mark.parametrize("architecture", ["resnet18_ibn_b", "resnet50_ibn_b"])
def test_sum_of_the_last_block_is_normalised_before_its_relu(architecture):
    model = unsettled(model_of(architecture))
    block = model.layer1[-1]
    x = torch.randn(2, block.conv1.in_channels, 6, 5)
    tensors, y = Tensors(block), x
    for i in range(1, 4 if hasattr(block, "conv3") else 3):
        kernel = getattr(block, f"conv{i}").kernel_size[0]
        y = tensors.norm(tensors.convolution(y, f"conv{i}", padding=kernel // 2), f"bn{i}")
        y = y.relu() if hasattr(block, f"conv{i + 1}") else y
    with torch.no_grad():
        assert torch.allclose(block(x), tensors.norm(y + x, "IN").relu(), atol=1e-5)


@pytest.mark.parametrize("architecture", ["osnet_x0_25", "osnet_ain_x0_25", "resnet18_ibn_a"])
def test_reid_networks_train_their_parts_and_take_the_fields_heads(architecture):
    model = model_of(architecture)
    features, logits = features_and_logits(model, torch.randn(2, 3, 64, 32))
    assert features.shape == (2, feature_dimension(model))
    assert logits.shape == (2, 10)
    operate(model, Surgery(head="bnneck", pooling="gem"), outputs=7, seed=0)
    assert model(torch.randn(2, 3, 64, 32)).shape == (2, 7)
    names = {name for name, _ in model.named_parameters()}
    for part in ("stem", "stage1", "stage3", "head", "norm"):
        trained = named(model, part)
        assert trained < names
        assert trained
    assert anatomy_of(model).stem in {name for name, _ in model.named_modules()}


@pytest.mark.parametrize(
    ("architecture", "options", "match"),
    [
        ("osnet_x2_0", {}, "for example osnet_x1_0"),
        ("resnet50_ibn_c", {}, "for example resnet50_ibn_a"),
        ("osnet_x1_0", {"norm": "group"}, "leave norm out"),
        ("resnet50_ibn_a", {"norm": "group"}, "leave norm out"),
        ("osnet_x1_0", {"block_order": "preactivation"}, "block_order"),
    ],
)
def test_impossible_reid_networks_are_errors(architecture, options, match):
    with pytest.raises(ValueError, match=match):
        model_of(architecture, **options)
