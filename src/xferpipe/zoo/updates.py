"""Updates of weights that are merged when training ends: LoRA and parallel residual adapters.

Both are parametrisations of a weight, so that the model's forward pass is untouched and a merged
model is an ordinary one: W + (alpha / rank) B A, and for an adapter the 1x1 kernel added to the
centre of the 3x3 one, which is the same map as a convolution beside it.

Source:
    Hu et al. 2021, arXiv 2106.09685; Rebuffi et al., CVPR 2018 (parallel adapters).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.utils import parametrize

from xferpipe.config.surgery import Lora
from xferpipe.zoo.build import anatomy_of


class LowRank(nn.Module):
    """W + scale B A on a weight read as a matrix (out, in * kernel); B starts at zero."""

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, columns, device=weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the updated weight, in the shape of `weight`."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class ParallelAdapter(nn.Module):
    """A 1x1 convolution beside a convolution of the same stride; zero at the start.

    Args:
        weight: Kernel, float (out, in, k, k), k odd.
        domains: Adapters kept, of which `active` is used.
    """

    def __init__(self, weight: torch.Tensor, domains: int = 1) -> None:
        super().__init__()
        self.active = 0
        shape = weight.shape[:2]
        self.kernels = nn.ParameterList(
            nn.Parameter(torch.zeros(shape, device=weight.device)) for _ in range(domains)
        )

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the kernel with the adapter at its centre."""
        margin = weight.shape[-1] // 2
        kernel = self.kernels[self.active][:, :, None, None]
        return weight + nn.functional.pad(kernel, (margin,) * 4)


def add_lora(model: nn.Module, options: Lora) -> None:
    """Add low-rank updates to the layers of some kinds, the classifier excepted.

    Raises:
        ValueError: The model has no such layer.
    """
    classifier = model.get_submodule(anatomy_of(model).classifier)
    found = False
    for name, module in list(model.named_modules()):
        multihead = isinstance(module, nn.MultiheadAttention)
        kinds = {
            # timm's transformers project to queries, keys and values by a linear layer, `qkv`.
            "attention": multihead or (isinstance(module, nn.Linear) and name.endswith(".qkv")),
            "linear": isinstance(module, nn.Linear),
            "convolution": isinstance(module, nn.Conv2d),
        }
        if module is classifier or not any(kinds[kind] for kind in options.kinds):
            continue
        tensor = "in_proj_weight" if multihead else "weight"
        weight = getattr(module, tensor)
        update = LowRank(weight, min(options.rank, weight.shape[0]), options.alpha)
        parametrize.register_parametrization(module, tensor, update)
        found = True
    if not found:
        raise ValueError(
            f"lora: {type(model).__name__} has no layer of kinds {', '.join(options.kinds)}; "
            "allowed: linear, attention, convolution"
        )


def add_adapters(model: nn.Module, domains: int = 1) -> None:
    """Add parallel adapters to every 3x3 convolution that is not grouped.

    Raises:
        ValueError: The model has no such convolution.
    """
    found = False
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and module.groups == 1:
            adapter = ParallelAdapter(module.weight, domains)
            parametrize.register_parametrization(module, "weight", adapter)
            found = True
    if not found:
        raise ValueError(f"adapters: {type(model).__name__} has no 3x3 convolution")


def merge(model: nn.Module) -> nn.Module:
    """Make every update part of its weight, in place; the model's outputs stay.

    Returns:
        The model, whose state dict has plain names again.
    """
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            # torch keeps the property of a parametrised weight in a class that copies of the module
            # share, and deletes it there: a class of its own leaves the copies whole.
            made = type(module)
            module.__class__ = type(made.__name__, made.__bases__, dict(made.__dict__))
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return model
