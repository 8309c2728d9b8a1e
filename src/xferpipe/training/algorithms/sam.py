"""Sharpness-aware minimisation: the gradient is taken where the loss is highest nearby.

Source:
    Foret et al. 2021, arXiv 2010.01412.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from xferpipe.training.algorithms import plain


class Algorithm(plain.Algorithm):
    """Two passes a step; running statistics see the first alone."""

    def update(self, backward: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Climb by `sam_rho`, take the gradient there, step from where it was."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = backward()
        moved = [
            parameter
            for group in self.optimiser.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        with torch.no_grad():
            norm = torch.stack([parameter.grad.norm() for parameter in moved]).norm()
            before = [parameter.clone() for parameter in moved]
            for parameter in moved:
                parameter.add_(parameter.grad * (self.recipe.sam_rho / (norm + 1e-12)))
        self.optimiser.zero_grad(set_to_none=True)
        with _frozen_statistics(self.model):
            backward()
        with torch.no_grad():
            for parameter, value in zip(moved, before, strict=True):
                parameter.copy_(value)
        self.optimiser.step()
        return loss


@contextmanager
def _frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch, but leave running statistics as they are."""
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    kept = [(module.track_running_stats, dict(module._buffers)) for module in norms]
    try:
        for module in norms:
            module.track_running_stats = False
            module._buffers.update(running_mean=None, running_var=None, num_batches_tracked=None)
        yield
    finally:
        for module, (tracked, buffers) in zip(norms, kept, strict=True):
            module.track_running_stats = tracked
            module._buffers.update(buffers)
