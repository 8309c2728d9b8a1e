"""Replicated SGD: copies of the weights that take turns with the batches and pull together.

Source:
    Pittorino et al. 2021, arXiv 2006.07897. Here the copies start from the same weights and part by
    the batches that they see.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from xferpipe.training.algorithms import plain
from xferpipe.training.parameters import laid_out, refresh_statistics


class Algorithm(plain.Algorithm):
    """Step s belongs to copy s modulo R; the mean of the copies is validated and kept."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.steps = 0
        self.trained = [
            parameter for group in self.optimiser.param_groups for parameter in group["params"]
        ]
        self.replicas = [self._weights() for _ in range(self.recipe.rsgd.replicas)]
        state = self.optimiser.state_dict()["state"]
        self.moments = [copy.deepcopy(state) for _ in self.replicas]
        self.centre = copy.deepcopy(self.model)

    def update(self, backward: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Take a step with the copy whose turn it is, and pull it to the mean."""
        options = self.recipe.rsgd
        turn = self.steps % options.replicas
        self._put(self.replicas[turn])
        state = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**state, "state": self.moments[turn]})
        loss = super().update(backward)
        with torch.no_grad():
            if self.steps % options.interval_steps == 0:
                strength = options.coupling * options.growth**self.steps
                for parameter, mean in zip(self.trained, self._mean(), strict=True):
                    # Never beyond the mean: a pull longer than the way would swing.
                    parameter.lerp_(mean, min(1.0, strength))
        self.replicas[turn] = self._weights()
        self.moments[turn] = copy.deepcopy(self.optimiser.state_dict()["state"])
        self.steps += 1
        return loss

    def after_epoch(self, epoch: int, train_accuracy: float) -> None:
        """Put the mean of the copies into the model that is validated; refresh its statistics."""
        current = self._weights()
        self._put(self._mean())
        self.centre.load_state_dict(self.model.state_dict())
        self._put(current)
        refresh_statistics(self.centre, self.recipe, self.images())

    def evaluated(self) -> nn.Module:
        """Return the mean of the copies."""
        return self.centre

    def state_dict(self) -> dict[str, Any]:
        """Return the copies, their optimiser states and the number of steps."""
        return {"replicas": self.replicas, "moments": self.moments, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        for replica, stored in zip(self.replicas, state["replicas"], strict=True):
            for own, value in zip(replica, stored, strict=True):
                own.copy_(value)
        self.moments = [
            {i: laid_out(values, self.trained[i]) for i, values in moments.items()}
            for moments in state["moments"]
        ]
        self.steps = state["steps"]

    def _weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.trained]

    @torch.no_grad()
    def _put(self, weights: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.trained, weights, strict=True):
            parameter.copy_(value)

    def _mean(self) -> list[torch.Tensor]:
        return [torch.stack(parts).mean(0) for parts in zip(*self.replicas, strict=True)]
