"""Normalisation layers: batch norm, group norm, group norm with weight standardisation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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


@contextmanager
def own_modes(model: nn.Module) -> Iterator[None]:
    """Put every layer back into its own mode, training or evaluation, when the block ends."""
    training = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@torch.no_grad()
def renew_statistics(
    model: nn.Module, norms: Sequence[_BatchNorm], batches: Iterable[torch.Tensor]
) -> None:
    """Take the statistics of batch norms anew from one pass, every batch weighing the same.

    torch's `update_bn` does so with every batch norm and with dropout.

    Args:
        model: Its layers pass the batches in the modes that they are in.
        norms: Batch norms of it, in training mode.
        batches: Inputs of the model; the statistics depend on the size of these batches.
    Raises:
        ValueError: There are batch norms and no batch.
    Source:
        Izmailov et al., UAI 2018, section 3.2.
    """
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    seen = False
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's cumulative mean
        for batch in batches:
            model(batch)
            seen = True
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if not seen:
        raise ValueError("no batch to recompute batch-norm statistics from; give some images")


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
