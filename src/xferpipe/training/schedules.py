"""Learning rates as pure functions of the position in training."""

from __future__ import annotations

import math

from xferpipe.config.recipes import Recipe


def learning_rate(recipe: Recipe, epoch: int, peak: float | None = None) -> float:
    """Return the learning rate of an epoch.

    The schedule starts when the warm-up ends and moves once an epoch, as torchvision's reference
    script does with `SequentialLR`.

    Args:
        recipe: The recipe.
        epoch: Epoch, 0-based.
        peak: Learning rate before the schedule; unset: the recipe's.
    """
    peak = recipe.lr if peak is None else peak
    warmup = recipe.lr_warmup_epochs
    if epoch < warmup:
        return peak * _warmup(recipe, epoch)
    return _main(recipe, epoch - warmup, recipe.epochs - warmup, peak)


def _warmup(recipe: Recipe, epoch: int) -> float:
    if recipe.lr_warmup_method == "constant":
        return recipe.lr_warmup_decay
    share = epoch / recipe.lr_warmup_epochs
    return recipe.lr_warmup_decay + (1 - recipe.lr_warmup_decay) * share


def _main(recipe: Recipe, epoch: int, epochs: int, peak: float) -> float:
    if recipe.lr_scheduler == "step":
        return peak * recipe.lr_gamma ** (epoch // recipe.lr_step_size)
    if recipe.lr_scheduler == "multistep":
        return peak * recipe.lr_gamma ** sum(epoch >= drop for drop in recipe.lr_milestones)
    if recipe.lr_scheduler == "cosine":
        share = (1 + math.cos(math.pi * epoch / epochs)) / 2
        return recipe.lr_min + (peak - recipe.lr_min) * share
    return peak
