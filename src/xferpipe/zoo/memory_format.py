"""The order of a model's values in memory: channels last, where that computes right."""

from __future__ import annotations

import torch
from torch import nn

#: Channels in oneDNN's largest block.
_BLOCK = 16


def in_channels_last(model: nn.Module) -> bool:
    """Put a model's weights in channels-last order, which makes most convolutions faster.

    A convolution whose weights are in this order computes in it, whatever its images are in.
    Depthwise convolutions of small images take a quarter of the time on a processor.

    Args:
        model: The model, on its device; changed in place.
    Returns:
        Whether it is in this order: it is not where gradients would come out wrong.
    """
    if any(map(_unsafe, model.modules())):
        return False
    model.to(memory_format=torch.channels_last)
    return True


def _unsafe(layer: nn.Module) -> bool:
    """Say whether the gradients of a layer come out wrong in this memory format.

    On processors, oneDNN's gradient of a strided 1 x 1 convolution writes past its scratch memory
    where an image has fewer channels than a block of 8 or 16: wrong values, or a crash
    (uxlfoundation/oneDNN issue 6035, seen with torch 2.15 on AVX2).
    """
    return (
        isinstance(layer, nn.Conv2d)
        and layer.weight.device.type == "cpu"
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < _BLOCK
    )
