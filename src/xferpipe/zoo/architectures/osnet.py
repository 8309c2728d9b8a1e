"""OSNet, the small network of person re-identification, in its three forms.

`osnet_x1_0` (and x0_75, x0_5, x0_25: narrower), `osnet_ibn_x1_0` (instance norms in the stem and
behind the additions of the first stage) and `osnet_ain_x1_0` (instance norms inside residual
branches, where a search put them). Tensors have the names of torchreid, so that its weights fit.

Source:
    Zhou et al., ICCV 2019, arXiv 1905.00953; Zhou et al., TPAMI 2021, arXiv 1910.06827 (ain).
"""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.anatomy import Anatomy

_NAME = re.compile(r"osnet_(?:(ibn|ain)_)?x(1_0|0_75|0_5|0_25)")
_CHANNELS = (64, 256, 384, 512)
_FEATURES, _STREAMS, _REDUCTION, _GATE_REDUCTION = 512, 4, 4, 16
#: Blocks whose residual branch ends in an instance norm, by stage (`ain`).
_AIN = ((True, True), (False, True), (True, False))


def build(spec: ModelSpec, outputs: int) -> nn.Module:
    """Build an OSNet with fresh weights.

    Raises:
        ValueError: There is no such form or width.
    """
    found = _NAME.fullmatch(spec.architecture)
    if not found:
        raise ValueError(
            f"unknown architecture {spec.architecture!r}: expected osnet_, osnet_ibn_ or "
            "osnet_ain_ and a width of x1_0, x0_75, x0_5 or x0_25, for example osnet_x1_0"
        )
    width = float(found[2].replace("_", "."))
    return OSNet(found[1] or "", tuple(int(width * c) for c in _CHANNELS), outputs)


def anatomy(model: nn.Module, architecture: str) -> Anatomy:
    """Name the parts of an OSNet; its features are those behind `fc`."""
    return Anatomy(
        head="classifier",
        classifier="classifier",
        stem="conv1.conv",
        stem_norm="conv1.bn",
        stem_pool="maxpool",
        global_pool="global_avgpool",
        last_convolution="conv5.conv",
        stages=tuple(
            tuple(name for name in (f"conv{i}", f"pool{i}") if hasattr(model, name))
            for i in (2, 3, 4)
        ),
    )


def _convolution(
    channels_in: int,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    norm: type[nn.Module] | None = nn.BatchNorm2d,
    relu: bool = True,
) -> nn.Sequential:
    """Return a convolution, its norm and a ReLU, each left out where it is not wanted."""
    layers = OrderedDict(
        conv=nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
    )
    if norm is not None:
        layers["bn"] = norm(channels, affine=True)
    if relu:
        layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


def _light_convolution(channels: int) -> nn.Sequential:
    """Return a 1x1 convolution, a 3x3 one of each channel alone, norm and ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, channels, 1, bias=False),
            conv2=nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
        )
    )


def _transition(channels: int) -> nn.Sequential:
    """Return a 1x1 convolution and a mean over 2x2 positions."""
    return nn.Sequential(_convolution(channels, channels), nn.AvgPool2d(2))


class Gate(nn.Module):
    """Weighs channels by what all positions have of them; one gate serves all streams."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _GATE_REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // _GATE_REDUCTION, channels, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return weighed maps, float (n, channels, h, w)."""
        mean = functional.adaptive_avg_pool2d(maps, 1)
        return maps * torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))


class Stream(nn.Module):
    """Light convolutions in a row, with the names of form `ain`."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_light_convolution(channels) for _ in range(depth)))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps, float (n, channels, h, w)."""
        return self.layers(maps)


class Block(nn.Module):
    """Streams of 1 to 4 light convolutions, gated and added, inside a residual bottleneck.

    Args:
        channels_in, channels: Before and after.
        form: Of the network: empty, `ibn` or `ain`.
        normed: Instance norm behind the addition (`ibn`), or at the end of the branch (`ain`).
    """

    def __init__(self, channels_in: int, channels: int, *, form: str, normed: bool) -> None:
        super().__init__()
        middle = channels // _REDUCTION
        inside = form == "ain"
        self.conv1 = _convolution(channels_in, middle)
        if inside:
            self.conv2 = nn.ModuleList(Stream(middle, i + 1) for i in range(_STREAMS))
        else:
            self.conv2a = _light_convolution(middle)
            for i, letter in enumerate("bcd", start=2):
                lights = (_light_convolution(middle) for _ in range(i))
                setattr(self, f"conv2{letter}", nn.Sequential(*lights))
        self.gate = Gate(middle)
        norm = None if inside and normed else nn.BatchNorm2d
        self.conv3 = _convolution(middle, channels, norm=norm, relu=False)
        self.downsample = (
            _convolution(channels_in, channels, relu=False) if channels_in != channels else None
        )
        self.IN = nn.InstanceNorm2d(channels, affine=True) if normed else None
        self.inside = inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, float (n, channels, h, w)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.conv1(x)
        streams = (
            self.conv2 if self.inside else (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        )
        x = self.conv3(sum(self.gate(stream(x)) for stream in streams))
        if self.IN is not None and self.inside:
            return torch.relu(self.IN(x) + shortcut)
        x = x + shortcut
        return torch.relu(x if self.IN is None else self.IN(x))


class OSNet(nn.Module):
    """Stem, three stages of two blocks, a layer of 512 features, a classifier.

    Args:
        form: Empty, `ibn` or `ain`.
        channels: Of the stem and of the stages.
        outputs: Classes.
    """

    def __init__(self, form: str, channels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        norm = nn.InstanceNorm2d if form else nn.BatchNorm2d
        self.conv1 = _convolution(3, channels[0], 7, 2, norm=norm)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for i in range(3):
            normed = _AIN[i] if form == "ain" else (form == "ibn" and i == 0,) * 2
            widths = (channels[i], channels[i + 1], channels[i + 1])
            stage = [Block(widths[j], widths[j + 1], form=form, normed=normed[j]) for j in range(2)]
            # The last stage keeps its resolution.
            if i < 2 and form != "ain":
                stage.append(_transition(channels[i + 1]))
            setattr(self, f"conv{i + 2}", nn.Sequential(*stage))
            if i < 2 and form == "ain":
                setattr(self, f"pool{i + 2}", _transition(channels[i + 1]))
        self.conv5 = _convolution(channels[3], channels[3])
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels[3], _FEATURES), nn.BatchNorm1d(_FEATURES), nn.ReLU()
        )
        self.classifier = nn.Linear(_FEATURES, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, float (n, outputs), of images, float (n, 3, h, w)."""
        x = self.maxpool(self.conv1(images))
        for name in ("conv2", "pool2", "conv3", "pool3", "conv4", "conv5", "global_avgpool"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return self.classifier(self.fc(torch.flatten(x, 1)))
