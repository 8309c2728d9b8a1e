"""A solution's weights: kept, restored bit for bit, and their batch-norm statistics recomputed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

#: A solution: every parameter and buffer by its name.
State = dict[str, Tensor]


def state_of(model: nn.Module) -> State:
    """Copy every parameter and buffer of a model, those outside its state dict included."""
    return {
        name: tensor.detach().clone()
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }


@torch.no_grad()
def load_state(model: nn.Module, state: State) -> None:
    """Copy a solution into a model.

    Raises:
        ValueError: A name or a shape differs; names the first of them.
    """
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    if different := sorted(set(tensors) ^ set(state)):
        raise ValueError(
            f"the weights and the model differ in {len(different)} names, first {different[0]!r}: "
            "solutions are compared within one architecture; choose pairs that share it"
        )
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(state[name].shape)} in the weights and "
                f"{tuple(tensor.shape)} in the model: solutions are compared within one "
                "architecture and one set of classes"
            )
        tensor.copy_(state[name])


@contextmanager
def restored(model: nn.Module) -> Iterator[State]:
    """Give the model's state; put weights and modes back bit for bit when the block ends."""
    state = state_of(model)
    training = {module: module.training for module in model.modules()}
    try:
        yield state
    finally:
        load_state(model, state)
        for module, mode in training.items():
            module.training = mode


def use_batch_statistics(model: nn.Module) -> list[_BatchNorm]:
    """Put the batch-norm layers alone in training mode, and return those that keep statistics.

    Dropout and the like stay off: nothing is drawn, and what is measured is the network that is
    evaluated.
    """
    model.eval()
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        layer.train()
    return [layer for layer in layers if layer.track_running_stats]


@torch.no_grad()
def refresh_batch_norm(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Recompute batch-norm statistics by one pass in training mode, every batch weighing the same.

    Without dropout this is torch's `update_bn`; dropout is left off here.

    Args:
        model: Its running statistics are replaced; parameters and modes stay.
        batches: Pixels and labels; the statistics depend on the size of these batches.
    Raises:
        ValueError: There is no batch.
    Source:
        Izmailov et al., UAI 2018, section 3.2.
    """
    training = {module: module.training for module in model.modules()}
    layers = use_batch_statistics(model)
    momenta = [layer.momentum for layer in layers]
    seen = not layers
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # torch's cumulative mean
        for pixels, _ in batches if layers else ():
            model(pixels)
            seen = True
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in training.items():
            module.training = mode
    if not seen:
        raise ValueError("no batch to recompute batch-norm statistics from; give some images")
