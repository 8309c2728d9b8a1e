"""Which parameters are trained, at what rate and with what decay."""

from __future__ import annotations

import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.training.schedules import learning_rate
from xferpipe.zoo.build import anatomy_of
from xferpipe.zoo.normalisation import NORMALISATIONS


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Mark the parameters that the recipe trains; the others get no gradient."""
    head = f"{anatomy_of(model).head}."
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(recipe.train_layers == "all" or name.startswith(head))


def training_mode(model: nn.Module) -> None:
    """Set training mode, but leave batch statistics of frozen layers as they are."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            weights = list(module.parameters(recurse=False))
            if weights and not any(weight.requires_grad for weight in weights):
                module.eval()


def groups(model: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Return the optimiser's parameter groups: normalisation layers may decay differently."""
    norm_decay = (
        recipe.weight_decay if recipe.norm_weight_decay is None else recipe.norm_weight_decay
    )
    decays: dict[float, list[nn.Parameter]] = {}
    for module in model.modules():
        decay = norm_decay if isinstance(module, NORMALISATIONS) else recipe.weight_decay
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad:
                decays.setdefault(decay, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "peak": recipe.lr}
        for decay, parameters in decays.items()
    ]


def optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the recipe's optimiser over the parameters that are trained.

    Raises:
        ValueError: Nothing is trained.
    """
    made = groups(model, recipe)
    if not made:
        raise ValueError("train_layers leaves nothing to train; name at least one layer")
    if recipe.opt in ("sgd", "sgd_nesterov"):
        nesterov = recipe.opt == "sgd_nesterov"
        return torch.optim.SGD(made, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.opt](made, lr=recipe.lr)


def set_learning_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> float:
    """Set every group's rate for an epoch; return that of the first."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(recipe, epoch, group["peak"])
    return optimiser.param_groups[0]["lr"]
