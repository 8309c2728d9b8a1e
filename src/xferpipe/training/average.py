"""The exponential average of the weights (`model_ema`).

Source:
    torchvision's reference script `train.py`: the decay follows from the length of the run, and the
    average starts over during the warm-up.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from xferpipe.config.recipes import Recipe


class Average:
    """An exponential average of parameters and buffers, updated every `model_ema_steps`."""

    def __init__(self, model: nn.Module, recipe: Recipe, epochs: int) -> None:
        adjust = recipe.batch_size * recipe.model_ema_steps / epochs
        decay = 1 - min(1.0, (1 - recipe.model_ema_decay) * adjust)
        self.recipe = recipe
        self.average = AveragedModel(
            model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
        )

    def after_step(self, model: nn.Module, epoch: int, step: int) -> None:
        """Take in the weights after a step, both counted from 0."""
        if step % self.recipe.model_ema_steps == 0:
            self.average.update_parameters(model)
            if epoch < self.recipe.lr_warmup_epochs:
                # The next update copies the weights: the average does not remember the warm-up.
                self.average.n_averaged.fill_(0)

    def evaluated(self) -> nn.Module:
        """Return the averaged model."""
        return self.average.module

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.average.load_state_dict(state)
