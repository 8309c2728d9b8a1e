"""ResNets for small images: three stages on the full resolution, a half and a quarter of it.

`cifar_resnet<depth>` has 6n+2 layers of basic blocks below depth 164 and 9n+2 layers of bottleneck
blocks from there on, as in the papers (20 ... 110; 164, 1001).

Source:
    He et al. 2016, arXiv 1512.03385 (section 4.2) and 1603.05027 (block orders).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.anatomy import Anatomy
from xferpipe.zoo.normalisation import initialise, layers

BOTTLENECK_FROM = 164
EXPANSION = 4


def build(spec: ModelSpec, outputs: int) -> nn.Module:
    """Build a CIFAR ResNet with fresh weights.

    Raises:
        ValueError: The name has no depth, or one that the blocks cannot make.
    """
    text = spec.architecture.removeprefix("cifar_resnet")
    if not text.isdigit():
        raise ValueError(
            f"unknown architecture {spec.architecture!r}: expected cifar_resnet<depth>, "
            "for example cifar_resnet20"
        )
    depth = int(text)
    per_block = 9 if depth >= BOTTLENECK_FROM else 6
    if depth < 8 or (depth - 2) % per_block:
        raise ValueError(
            f"{spec.architecture}: depth must be {per_block}n+2, "
            f"for example {per_block * max(1, (depth - 2) // per_block) + 2}"
        )
    return CifarResNet(
        blocks=(depth - 2) // per_block,
        bottleneck=per_block == 9,
        width=spec.width,
        outputs=outputs,
        order=spec.block_order,
        norm=spec.norm,
    )


def anatomy(model: nn.Module, architecture: str) -> Anatomy:
    """Name the parts of a CIFAR ResNet."""
    last = model.layer3[-1]
    return Anatomy(
        head="fc",
        classifier="fc",
        stem="conv1",
        stem_norm="" if model.preactivation else "bn1",
        stem_pool="",
        global_pool="avgpool",
        last_convolution=f"layer3.{len(model.layer3) - 1}.conv{last.convolutions}",
        stages=(("layer1",), ("layer2",), ("layer3",)),
    )


class Block(nn.Module):
    """A residual block of two 3x3 convolutions, or of 1x1, 3x3 and 1x1, in one of four orders.

    Orders: `original` (conv-norm-relu, ..., conv-norm, add, relu), `norm_after_addition` (the last
    norm behind the addition), `relu_before_addition` (conv-norm-relu throughout, then add) and
    `preactivation` (norm-relu-conv throughout, then add).
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        stride: int,
        bottleneck: bool,
        order: str,
        convolution: type[nn.Conv2d],
        normalise: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        expansion = EXPANSION if bottleneck else 1
        channels_out = channels * expansion
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = (channels_in, *([channels] * (len(kernels) - 1)), channels_out)
        strides = (1, stride, 1) if bottleneck else (stride, 1)
        self.order = order
        self.convolutions = len(kernels)
        for i, kernel in enumerate(kernels):
            conv = convolution(
                widths[i], widths[i + 1], kernel, strides[i], kernel // 2, bias=False
            )
            before = order == "preactivation"
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"bn{i + 1}", normalise(widths[i if before else i + 1]))
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            shortcut = [convolution(channels_in, channels_out, 1, stride, bias=False)]
            if order in ("original", "relu_before_addition"):
                shortcut.append(normalise(channels_out))
            self.downsample = nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, float (n, channels_out, h', w')."""
        if self.order == "preactivation":
            return self._preactivation(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        last = self.convolutions
        for i in range(1, last):
            x = functional.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        x = getattr(self, f"conv{last}")(x)
        normalise = getattr(self, f"bn{last}")
        if self.order == "norm_after_addition":
            return functional.relu(normalise(x + shortcut))
        if self.order == "relu_before_addition":
            return functional.relu(normalise(x)) + shortcut
        return functional.relu(normalise(x) + shortcut)

    def _preactivation(self, x: torch.Tensor) -> torch.Tensor:
        active = functional.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        x = self.conv1(active)
        for i in range(2, self.convolutions + 1):
            x = getattr(self, f"conv{i}")(functional.relu(getattr(self, f"bn{i}")(x)))
        return x + shortcut


class CifarResNet(nn.Module):
    """Stem, three stages of residual blocks, global mean, linear classifier."""

    def __init__(
        self, *, blocks: int, bottleneck: bool, width: int, outputs: int, order: str, norm: str
    ) -> None:
        super().__init__()
        convolution, normalise = layers(norm)
        self.preactivation = order == "preactivation"
        self.conv1 = convolution(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.Identity() if self.preactivation else normalise(width)
        channels_in = width
        for stage in range(3):
            channels = width * 2**stage
            made = []
            for i in range(blocks):
                made.append(
                    Block(
                        channels_in,
                        channels,
                        stride=2 if stage and i == 0 else 1,
                        bottleneck=bottleneck,
                        order=order,
                        convolution=convolution,
                        normalise=normalise,
                    )
                )
                channels_in = channels * (EXPANSION if bottleneck else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
        self.norm = normalise(channels_in) if self.preactivation else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels_in, outputs)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, float (n, outputs), of images, float (n, 3, h, w)."""
        x = self.bn1(self.conv1(images))
        if not self.preactivation:
            x = functional.relu(x)
        x = self.layer3(self.layer2(self.layer1(x)))
        if self.preactivation:
            x = functional.relu(self.norm(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))
