"""Which parameters are trained, at what rate and with what decay."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from xferpipe.config.recipes import Recipe
from xferpipe.training.schedules import learning_rate
from xferpipe.zoo.build import anatomy_of
from xferpipe.zoo.normalisation import (
    normalisation_parameters,
    own_modes,
    renew_statistics,
)

#: Part of the names of low-rank and parallel updates; see zoo.updates.
UPDATES = ".parametrizations."


def named(model: nn.Module, layer: str) -> set[str]:
    """Return the names of the parameters that one word of `train_layers` means.

    Args:
        model: A model of `build_model`.
        layer: all, head, stem (its normalisation too), stem_convolution, stage1 ..., norm,
            adapters, or a pattern of parameter names.
    Raises:
        ValueError: The model has no such parameter.
    """
    anatomy = anatomy_of(model)
    names = [name for name, _ in model.named_parameters()]
    stages = {f"stage{i + 1}": parts for i, parts in enumerate(anatomy.stages)}
    words = {
        "head": (anatomy.head,),
        "stem": (anatomy.stem, anatomy.stem_norm),
        "stem_convolution": (anatomy.stem,),
        **stages,
    }
    if layer == "all":
        found = set(names)
    elif layer == "norm":
        found = set(normalisation_parameters(model))
    elif layer == "adapters":
        found = {name for name in names if UPDATES in name and not name.endswith(".original")}
    elif layer in words:
        beginnings = tuple(f"{part}." for part in words[layer] if part)
        found = {name for name in names if beginnings and name.startswith(beginnings)}
    else:
        found = {name for name in names if fnmatchcase(name, layer)}
    if not found:
        raise ValueError(
            f"train_layers: {layer!r} names no parameter of {type(model).__name__}; allowed: all, "
            f"norm, adapters, {', '.join(words)}, or a pattern such as {names[0]!r}"
        )
    return found


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Mark the parameters that the recipe trains; the others get no gradient."""
    layers = recipe.train_layers
    words: Iterable[str] = (layers,) if isinstance(layers, str) else layers
    trained = set().union(*(named(model, word) for word in words))
    if recipe.freeze_bn == "all":
        trained -= {
            f"{name}.{own}"
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm)
            for own, _ in module.named_parameters(recurse=False)
        }
    if anatomy_of(model).metric:
        # BNNeck: its shift stays at zero, so that classifier and metric loss share one centre.
        trained.discard(f"{anatomy_of(model).head}.bn.bias")
    if not trained:
        raise ValueError("train_layers and freeze_bn leave nothing to train; name one more layer")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def training_mode(model: nn.Module, recipe: Recipe) -> None:
    """Set training mode, but keep the statistics that the recipe freezes."""
    model.train()
    moving = set(moving_batch_norms(model, recipe))
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module not in moving:
            module.eval()


def moving_batch_norms(model: nn.Module, recipe: Recipe) -> list[_BatchNorm]:
    """Return the batch norms that normalise by the batch in training and move their statistics."""

    def frozen(norm: _BatchNorm) -> bool:
        weights = list(norm.parameters(recurse=False))
        return bool(weights) and not any(weight.requires_grad for weight in weights)

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if recipe.freeze_bn == "all":
        return []
    return norms if recipe.freeze_bn == "none" else [norm for norm in norms if not frozen(norm)]


def refresh_statistics(model: nn.Module, recipe: Recipe, images: Iterable[torch.Tensor]) -> None:
    """Take the statistics of batch norms anew, but those that the recipe freezes.

    Args:
        model: Its weights changed otherwise than by training, as an average does; modes stay.
        recipe: The resolved recipe.
        images: Normalised batches, float (b, 3, h, w), on the model's device.
    """
    with own_modes(model):
        training_mode(model, recipe)
        renew_statistics(model, moving_batch_norms(model, recipe), images)


def laid_out(values: dict[str, Any], parameter: nn.Parameter) -> dict[str, Any]:
    """Return an optimiser's values of a parameter, the tensors on its device and in its format.

    A checkpoint may come from a device or memory format other than this run's, and torch's fused
    steps on processors walk buffers and weights as plain memory, whatever their strides say.
    """
    return {
        name: torch.empty_like(parameter).copy_(value)
        if torch.is_tensor(value) and value.shape == parameter.shape
        else value
        for name, value in values.items()
    }


def groups(model: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Return the optimiser's parameter groups: one for each peak rate and decay.

    Raises:
        ValueError: Two keys of `layer_lrs` mean the same parameter.
    """
    peaks: dict[str, float] = {}
    for layer, rate in recipe.layer_lrs.items():
        names = named(model, layer)
        if twice := names & set(peaks):
            raise ValueError(
                f"layer_lrs: {layer!r} and another key both mean {min(twice)}; name it once"
            )
        peaks |= dict.fromkeys(names, rate)
    decay_of_norms = recipe.norm_weight_decay
    norms = set() if decay_of_norms is None else normalisation_parameters(model)
    made: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = decay_of_norms if name in norms else recipe.weight_decay
            made.setdefault((peaks.get(name, recipe.lr), decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "peak": peak}
        for (peak, decay), parameters in made.items()
    ]


def optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the recipe's optimiser over the parameters that are trained."""
    made = groups(model, recipe)
    fused = True if recipe.fused else None
    if recipe.opt in ("sgd", "sgd_nesterov"):
        nesterov = recipe.opt == "sgd_nesterov"
        sgd = torch.optim.SGD(
            made, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused
        )
        if fused and recipe.momentum:
            # The kernel cannot begin with some of them (torch 2.15), as where a parameter's first
            # gradient comes in a later step. The first step from zero is the gradient, as without.
            for parameter in (one for group in sgd.param_groups for one in group["params"]):
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.opt]
    return kind(made, lr=recipe.lr, fused=fused)


def scheduled_rates(
    optimiser: torch.optim.Optimizer, recipe: Recipe, epoch: int, step: int, steps: int
) -> None:
    """Set every group's learning rate for one step."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(recipe, epoch, step, steps, group["peak"])
