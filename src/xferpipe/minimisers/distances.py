"""How far two solutions lie apart, beside how long they are."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import nn

from xferpipe.minimisers.solution import State, load_state, restored
from xferpipe.zoo.normalisation import normalisation_parameters


class Distance(NamedTuple):
    """Euclidean distance between two solutions, their norms, and the cosine of their angle.

    `normalisation` says whether scales and biases of normalisation layers are counted.
    `cosine` is NaN where a norm is 0.
    """

    normalisation: bool
    distance: float
    norm_a: float
    norm_b: float
    cosine: float


def weight_distances(model: nn.Module, a: State, b: State) -> list[Distance]:
    """Measure the distance of two solutions with and without normalisation parameters.

    Running statistics and other buffers are no weights and never count.

    Args:
        model: Tells parameters from buffers and names the normalisation layers.
        a: First solution.
        b: Second solution.
    Returns:
        Two distances: with normalisation parameters, then without.
    Raises:
        ValueError: A solution does not fit the model.
    """
    with restored(model):
        for state in (a, b):
            load_state(model, state)
    return [_distance(a, b, names, normalisation=counted) for names, counted in _counted(model)]


def norms(model: nn.Module) -> dict[str, float]:
    """Return the Euclidean norm of the weights with and without normalisation parameters."""
    state = {name: tensor.detach() for name, tensor in model.named_parameters()}
    with_all, without = (
        _distance(state, state, names, normalisation=counted) for names, counted in _counted(model)
    )
    return {"norm": with_all.norm_a, "norm_without_normalisation": without.norm_a}


def _counted(model: nn.Module) -> list[tuple[list[str], bool]]:
    names = [name for name, _ in model.named_parameters()]
    left_out = normalisation_parameters(model)
    return [(names, True), ([name for name in names if name not in left_out], False)]


def _distance(a: State, b: State, names: list[str], *, normalisation: bool) -> Distance:
    # In float64: float32 sums over millions of weights lose the digits that are compared.
    apart = norm_a = norm_b = inner = 0.0
    for name in names:
        first, second = a[name].double(), b[name].double()
        apart += (first - second).square().sum().item()
        norm_a += first.square().sum().item()
        norm_b += second.square().sum().item()
        inner += (first * second).sum().item()
    size = math.sqrt(norm_a * norm_b)
    cosine = inner / size if size else math.nan
    return Distance(normalisation, math.sqrt(apart), math.sqrt(norm_a), math.sqrt(norm_b), cosine)
