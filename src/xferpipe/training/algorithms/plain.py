"""One gradient, one optimiser step: what every other algorithm changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
        images: Gives the training images in batches, normalised and unaugmented, for statistics
            of batch norms.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        recipe: Recipe,
        images: Callable[[], Iterable[torch.Tensor]],
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.recipe = recipe
        self.images = images

    def change_rates(self, epoch: int, step: int, steps: int) -> None:
        """Change the scheduled learning rates of the optimiser's groups before a step.

        Args:
            epoch: Epoch, 0-based.
            step: Step in the epoch, 0-based.
            steps: Steps of an epoch.
        """

    def update(self, backward: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Take one optimiser step.

        Args:
            backward: Computes the loss of the batch, adds its gradients and returns it, detached.
        Returns:
            The loss before the step, float ().
        """
        self.optimiser.zero_grad(set_to_none=True)
        loss = backward()
        self.optimiser.step()
        return loss

    def after_epoch(self, epoch: int, train_accuracy: float) -> None:
        """Look at the epoch that ended, 0-based, before it is validated."""

    def finished(self, epoch: int, train_accuracy: float) -> bool:
        """Say whether training ends with this epoch."""
        target = self.recipe.until_train_accuracy
        return target is not None and train_accuracy >= target

    def evaluated(self) -> nn.Module:
        """Return the model that is validated and kept: the trained one, or an average of it."""
        return self.model

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beside model and optimiser."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
