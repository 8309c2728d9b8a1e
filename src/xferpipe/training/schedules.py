"""Learning rates as pure functions of the position in training."""

from __future__ import annotations

import math

from xferpipe.config.recipes import Recipe


def learning_rate(
    recipe: Recipe, epoch: int, step: int, steps: int, peak: float | None = None
) -> float:
    """Return the learning rate of one step.

    The main schedule starts when the warm-up ends. With `lr_by: epoch` both move once an epoch, as
    torchvision's reference script does with `SequentialLR`; with `lr_by: step` they are the same
    curves at a fraction of an epoch.

    Args:
        recipe: The resolved recipe.
        epoch: Epoch, 0-based.
        step: Step in the epoch, 0-based.
        steps: Steps of an epoch.
        peak: Learning rate before the schedule; unset: the recipe's.
    """
    peak = recipe.lr if peak is None else peak
    if recipe.lr_scheduler == "supports":
        return peak * supports_factor(recipe.lr_supports, epoch * steps + step)
    position = epoch + (step / steps if recipe.lr_by == "step" else 0)
    warmup: float = recipe.lr_warmup_epochs
    if recipe.lr_warmup_steps is not None:
        position, warmup = epoch + step / steps, recipe.lr_warmup_steps / steps
    if position < warmup:
        return peak * _warmup(recipe, position / warmup)
    end = recipe.epochs if recipe.steps is None else recipe.steps / steps
    return _main(recipe, position, warmup, end, peak)


def supports_factor(supports: tuple[int, ...], step: int) -> float:
    """Return BiT's factor: linear to the first support, x0.1 behind each one up to the last.

    Source:
        Kolesnikov et al. 2020, `bit_hyperrule.get_lr`.
    """
    if step < supports[0]:
        return step / supports[0]
    return 0.1 ** sum(drop < step for drop in supports[1:-1])


def _warmup(recipe: Recipe, share: float) -> float:
    if recipe.lr_warmup_method == "constant":
        return recipe.lr_warmup_decay
    return recipe.lr_warmup_decay + (1 - recipe.lr_warmup_decay) * share


def _main(recipe: Recipe, position: float, warmup: float, end: float, peak: float) -> float:
    since = position - warmup
    if recipe.lr_scheduler == "step":
        return peak * recipe.lr_gamma ** (since // recipe.lr_step_size)
    if recipe.lr_scheduler == "multistep":
        # Counted from the end of a warm-up in epochs, as SequentialLR does; a warm-up in steps is
        # laid over the first epochs and moves no drop.
        if recipe.lr_warmup_steps is not None:
            since = position
        return peak * recipe.lr_gamma ** sum(since >= drop for drop in recipe.lr_milestones)
    if recipe.lr_scheduler == "cosine":
        share = (1 + math.cos(math.pi * since / (end - warmup))) / 2
        return recipe.lr_min + (peak - recipe.lr_min) * share
    return peak
