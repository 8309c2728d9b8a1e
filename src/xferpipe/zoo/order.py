"""Weights whose names are another program's: tensors matched by their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from xferpipe.zoo.build import anatomy_of

#: A counter of batch norms, which files from before it was there do not have.
_COUNTER = ".num_batches_tracked"


def named_in_order(state: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Give tensors the names of a model's: the n-th of one is the n-th of the other.

    Args:
        state: Tensors in the order of the file. The classifier may have any number of classes, or
            be left out; so may the counters of batch norms.
        model: A model of `build_model`.
    Returns:
        The same tensors by the model's own names.
    Raises:
        ValueError: Shapes or last parts of names differ; says how many, and the first five.
    """
    names = _names(state, model)
    differing = list(_differing(state, model, names))
    if differing:
        shown = "".join(f"\n  {line}" for line in differing[:5])
        raise ValueError(
            f"{len(differing)} of {max(len(names), len(state))} tensors differ in order{shown}"
        )
    return dict(zip(names, state.values(), strict=True))


def same_order(state: Mapping[str, torch.Tensor], model: nn.Module) -> bool:
    """Tell whether `named_in_order` can name the tensors of a state."""
    return next(_differing(state, model, _names(state, model)), None) is None


def _names(state: Mapping[str, torch.Tensor], model: nn.Module) -> list[str]:
    """Return the model's names that a file of as many tensors can mean."""
    names = list(model.state_dict())
    if not any(name.endswith(_COUNTER) for name in state):
        names = [name for name in names if not name.endswith(_COUNTER)]
    classifier = f"{anatomy_of(model).classifier}."
    rest = [name for name in names if not name.startswith(classifier)]
    return rest if len(state) == len(rest) else names


def _differing(
    state: Mapping[str, torch.Tensor], model: nn.Module, names: list[str]
) -> Iterator[str]:
    """Say of each place what stands there and what is expected."""
    own = model.state_dict()
    classifier = f"{anatomy_of(model).classifier}."
    theirs = list(state.items())
    for place in range(max(len(names), len(theirs))):
        if place >= len(names):
            name, tensor = theirs[place]
            yield f"{name} {tuple(tensor.shape)}: expected no more tensors"
            continue
        wanted = names[place]
        shape = tuple(own[wanted].shape)
        if place >= len(theirs):
            yield f"missing: {wanted} {shape}"
            continue
        name, tensor = theirs[place]
        # The number of classes is the file's to say.
        first = 1 if wanted.startswith(classifier) else 0
        fits = tuple(tensor.shape[first:]) == shape[first:] and tensor.ndim == len(shape)
        if not fits or name.rpartition(".")[2] != wanted.rpartition(".")[2]:
            yield f"{name} {tuple(tensor.shape)}: expected {wanted} {shape}"
