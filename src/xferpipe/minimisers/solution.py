"""A solution's weights: kept, restored bit for bit, and their batch-norm statistics recomputed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from xferpipe.zoo.normalisation import own_modes, renew_statistics

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
    with own_modes(model):
        try:
            yield state
        finally:
            load_state(model, state)


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


def refresh_batch_norm(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Take the statistics of all batch norms anew, without dropout.

    Args:
        model: Its running statistics are replaced; parameters and modes stay.
        batches: Pixels and labels; the statistics depend on the size of these batches.
    Raises:
        ValueError: There is no batch.
    """
    with own_modes(model):
        renew_statistics(model, use_batch_statistics(model), (pixels for pixels, _ in batches))
