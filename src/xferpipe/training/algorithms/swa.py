"""Stochastic weight averaging: train to a target, then average weights at a constant rate.

Source:
    Izmailov et al. 2018, arXiv 1803.05407; the start at a training accuracy as in study s002.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel

from xferpipe.training.algorithms import plain
from xferpipe.training.parameters import refresh_statistics


class Algorithm(plain.Algorithm):
    """After `start_train_accuracy`: a linear change to the constant rate, then averages."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.average = AveragedModel(self.model)
        # Epoch from which on the rate changes, 0-based; -1 before the target is reached.
        self.start = -1

    def change_rates(self, epoch: int, step: int, steps: int) -> None:
        """Move every rate linearly to the constant one, keeping the groups' proportions."""
        if self.start < 0 or epoch < self.start:
            return
        swa = self.recipe.swa
        since = epoch - self.start + step / steps
        share = 1.0 if swa.anneal_epochs == 0 else min(1.0, since / swa.anneal_epochs)
        for group in self.optimiser.param_groups:
            constant = swa.lr * group["peak"] / self.recipe.lr
            group["lr"] += share * (constant - group["lr"])

    def after_epoch(self, epoch: int, train_accuracy: float) -> None:
        """Start at the target; average at intervals and refresh batch-norm statistics."""
        swa = self.recipe.swa
        if self.start < 0:
            if train_accuracy >= swa.start_train_accuracy:
                self.start = epoch + 1
            return
        averaging = epoch + 1 - self.start - swa.anneal_epochs
        if averaging > 0 and averaging % swa.interval_epochs == 0:
            self.average.update_parameters(self.model)
            refresh_statistics(self.average.module, self.recipe, self.images())

    def finished(self, epoch: int, train_accuracy: float) -> bool:
        """End when the epochs of averaging are over."""
        swa = self.recipe.swa
        return self.start >= 0 and epoch + 1 - self.start >= swa.anneal_epochs + swa.epochs

    def evaluated(self) -> nn.Module:
        """Return the average, once there is one."""
        return self.average.module if self.average.n_averaged > 0 else self.model

    def state_dict(self) -> dict[str, Any]:
        """Return the average and where it began."""
        return {"average": self.average.state_dict(), "start": self.start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.average.load_state_dict(state["average"])
        self.start = state["start"]
