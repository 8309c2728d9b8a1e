"""What a model costs in use: the time of one image, multiply-adds, the size of its weights."""

from __future__ import annotations

import copy
import statistics
import time
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

#: Passes before the clock counts, and how long passes are timed: no less than so many, no more
#: than so many.
_WARM_UP = 3
_SECONDS, _LEAST, _MOST = 0.5, 5, 100


class Cost(NamedTuple):
    """What one image costs a model.

    Attributes:
        milliseconds: Median time of one image, alone in its batch, in ms.
        gmacs: Multiply-adds of its convolutions, linear layers and attention, in 10^9.
        weights_mib: Size of parameters and buffers, in MiB.
    """

    milliseconds: float
    gmacs: float
    weights_mib: float


def cost_of(model: nn.Module, px: int) -> Cost:
    """Measure what one image costs a model on the device that it is on.

    Args:
        model: The model; set to evaluation mode.
        px: Side of the image.
    Raises:
        RuntimeError: The model cannot pass an image of this side; other models raise
            AssertionError or ValueError.
    """
    model.eval()
    tensors = [*model.parameters(), *model.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return Cost(milliseconds(model, px), multiply_adds(model, px) / 1e9, size / 2**20)


@torch.inference_mode()
def milliseconds(model: nn.Module, px: int) -> float:
    """Return the median time of one image, float (1, 3, px, px), in ms.

    As many passes are timed as half a second allows, so that a zoo of many models costs little.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, px, px, device=device)
    times: list[float] = []
    for number in range(_WARM_UP + _MOST):
        started = time.perf_counter()
        model(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took = 1000 * (time.perf_counter() - started)
        if number >= _WARM_UP:
            times.append(took)
        if len(times) >= _LEAST and sum(times) > 1000 * _SECONDS:
            break
    return statistics.median(times)


@torch.no_grad()
def multiply_adds(model: nn.Module, px: int) -> int:
    """Count the multiply-adds of one image: half of the operations that torch counts.

    A copy without values is passed: it takes no memory, and no fused kernel hides what it does.
    """
    tensors = [*model.parameters(), *model.buffers()]
    empty = {id(tensor): _without_values(tensor) for tensor in tensors}
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(model, empty)(torch.empty(1, 3, px, px, device="meta"))
    return counter.get_total_flops() // 2


def _without_values(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
