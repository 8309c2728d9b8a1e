"""One gradient, one optimiser step: what every other algorithm changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from xferpipe.config.recipes import Recipe


class Algorithm:
    """Hooks of the loop; each is called at the same place for every algorithm.

    Args:
        model: The model being trained.
        optimiser: Its optimiser.
        recipe: The resolved recipe.
        seed: Seed of the run; draws come from streams named by epoch and step, so that a resumed
            run draws what an undisturbed one does.
    """

    def __init__(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, seed: int
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.recipe = recipe
        self.seed = seed

    def images(self, images: torch.Tensor, epoch: int, step: int) -> torch.Tensor:
        """Change the normalised images, float (n, 3, h, w), of one step."""
        return images

    def learning_rate(self, scheduled: float, epoch: int, step: int, steps: int) -> float:
        """Change the learning rate of one step; `steps` are those of an epoch."""
        return scheduled

    def update(self, backward: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Take one optimiser step.

        Args:
            backward: Computes the loss of the batch, adds its gradients and returns it.
        Returns:
            The loss before the step, float (), detached. A loss that is not finite moves nothing.
        """
        self.optimiser.zero_grad(set_to_none=True)
        loss = backward()
        if torch.isfinite(loss):
            self.optimiser.step()
        return loss

    def after_epoch(self, epoch: int, train_accuracy: float, steps: int) -> None:
        """Look at the epoch that ended; `epoch` counts from 0."""

    def finished(self, epoch: int, train_accuracy: float) -> bool:
        """Say whether training ends before its last epoch."""
        return False

    def evaluated(self) -> nn.Module:
        """Return the model that is validated and kept: the trained one, or an average of it."""
        return self.model

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beside model and optimiser."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
