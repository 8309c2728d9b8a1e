"""Normalisation layers: batch norm, group norm, group norm with weight standardisation."""

from __future__ import annotations

import math

import torch
from torch import nn

#: Layers whose weights are scales and shifts, for weight decay and freezing.
NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
)


def normalisation_parameters(model: nn.Module) -> frozenset[str]:
    """Name the scales and shifts of a model's normalisation layers."""
    return frozenset(
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, NORMALISATIONS)
        for name, _ in module.named_parameters(recurse=False)
    )


class StandardisedConvolution(nn.Conv2d):
    """Convolution whose filters have mean 0 and variance 1 (weight standardisation).

    Source:
        Qiao et al. 2019, arXiv 1903.10520; epsilon as in BiT.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Standardise the filters, then convolve."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-10)
        return self._conv_forward(images, weight, self.bias)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a group norm of 32 groups, or the most that divide narrower layers."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def layers(norm: str) -> tuple[type[nn.Conv2d], object]:
    """Return the convolution class and the maker of normalisation layers of one ablation arm.

    Args:
        norm: `batch`, `group` or `group_ws`.
    """
    if norm == "batch":
        return nn.Conv2d, nn.BatchNorm2d
    return (StandardisedConvolution if norm == "group_ws" else nn.Conv2d), group_norm


def initialise(model: nn.Module) -> None:
    """Draw He-normal convolution weights (fan out) and set every scale to 1 and shift to 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, NORMALISATIONS) and module.weight is not None:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
