"""ResNets with instance norms for other cameras and weathers: `resnet50_ibn_a`, `resnet50_ibn_b`.

Variant a normalises half of the channels behind the first convolution of a block by their own
image, in the first three stages. Variant b normalises whole maps by their own image: behind the
stem, and behind the last addition of the first two stages. Tensors have the names of the authors'
code, so that its weights and those of re-identification toolboxes fit.

Source:
    Pan et al., ECCV 2018, arXiv 1807.09441 (figure 3).
"""

from __future__ import annotations

import re

import torch
from torch import nn
from torchvision.models import resnet

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.anatomy import Anatomy
from xferpipe.zoo.architectures import torchvision_models

_NAME = re.compile(r"(resnet\d+)_ibn_([ab])")
#: Stages with instance norms.
_STAGES = {"a": ("layer1", "layer2", "layer3"), "b": ("layer1", "layer2")}


def build(spec: ModelSpec, outputs: int) -> nn.Module:
    """Build a ResNet with instance norms and fresh weights.

    Raises:
        ValueError: There is no such variant.
    """
    found = _NAME.fullmatch(spec.architecture)
    if not found:
        raise ValueError(
            f"unknown architecture {spec.architecture!r}: expected resnet<depth>_ibn_a or "
            "resnet<depth>_ibn_b, for example resnet50_ibn_a"
        )
    depth, variant = found.groups()
    model = getattr(resnet, depth)(weights=None, num_classes=outputs)
    for name in _STAGES[variant]:
        stage = getattr(model, name)
        if variant == "a":
            for block in stage:
                block.bn1 = HalfInstanceNorm(block.bn1.num_features)
        else:
            block = stage[-1]
            last = block.bn3 if isinstance(block, resnet.Bottleneck) else block.bn2
            block.IN = nn.InstanceNorm2d(last.num_features, affine=True)
            # The subclass has the same tensors and another forward.
            block.__class__ = _NORMED[type(block)]
    if variant == "b":
        model.bn1 = nn.InstanceNorm2d(model.bn1.num_features, affine=True)
    return model


def anatomy(model: nn.Module, architecture: str) -> Anatomy:
    """Name the parts: those of the ResNet."""
    return torchvision_models.anatomy(model, architecture)


class HalfInstanceNorm(nn.Module):
    """The first half of the channels normalised by their own image, the others by the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return normalised maps, float (n, channels, h, w)."""
        own, batch = maps.tensor_split([self.half], dim=1)
        return torch.cat([self.IN(own), self.BN(batch)], dim=1)


class _NormedBasicBlock(resnet.BasicBlock):
    """A basic block whose sum is normalised before the last ReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.IN(self.bn2(self.conv2(x)) + shortcut))


class _NormedBottleneck(resnet.Bottleneck):
    """A bottleneck block whose sum is normalised before the last ReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.IN(self.bn3(self.conv3(x)) + shortcut))


_NORMED = {resnet.BasicBlock: _NormedBasicBlock, resnet.Bottleneck: _NormedBottleneck}
