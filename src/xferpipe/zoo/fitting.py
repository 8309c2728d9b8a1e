"""Tensors of a file brought to the names and shapes of a model: which are meant, and do they fit?

In turn: `rename` of the study; then each part of the file with names below a common beginning, as
it stands and as timm would convert it: where one has the whole trunk, that is it; then the order of
the tensors, where the study asks for it. What is left out is told; what does not fit is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from xferpipe.zoo.build import anatomy_of
from xferpipe.zoo.conversions import State
from xferpipe.zoo.order import named_in_order, same_order
from xferpipe.zoo.parts import Part, parts_of, places_of, trunk_of
from xferpipe.zoo.weights import WeightsError, misfit

#: Where training programs put the weights, the usual one first; of several, this decides.
USUAL = ("", "state_dict", "model_state_dict", "model", "net", "network", "student")


@dataclass(frozen=True)
class Fit:
    """Tensors by a model's own names, and how they were found."""

    state: State
    outputs: int
    notes: list[str]


def fit(
    groups: Mapping[str, State],
    model: nn.Module,
    *,
    architecture: str,
    origin: str,
    order: bool = False,
    ema: bool | None = None,
    rename: tuple[tuple[str, str], ...] = (),
) -> Fit:
    """Find a model's tensors in a file.

    Args:
        groups: State dicts by their place in the file.
        model: A model of `build_model`, of any number of classes.
        architecture: Its name.
        origin: What the weights are, named in errors.
        order: Match tensors by their order where names do not fit.
        ema: True takes averaged weights, False raw ones; None raw ones where both are there.
        rename: Pairs (regular expression, replacement), applied in turn to the names.
    Returns:
        The tensors by the model's names: the whole trunk, and the classifier where it has the
        model's names and width; its number of classes, 0 without one; what was done, in words.
    Raises:
        WeightsError: No part of the file has the whole trunk, or several have and nothing says
            which; `ema` asks for weights that are not there; two names become one.
    """
    groups = {place: _renamed(state, rename, origin) for place, state in groups.items()}
    parts = parts_of(groups, model, architecture)
    if fitting := [part for part in parts if not part.problems]:
        return _told(_chosen(fitting, ema, origin), fitting, model, ema)
    if order:
        return _in_order(groups, model, origin)
    raise WeightsError(_refusal(groups, parts, model, origin))


def _renamed(state: State, pairs: tuple[tuple[str, str], ...], origin: str) -> State:
    found = {}
    for name, value in state.items():
        new = name
        for pattern, replacement in pairs:
            new = re.sub(pattern, replacement, new)
        if new in found:
            raise WeightsError(
                f"{origin}: `rename` gives {name!r} and another tensor the name {new!r}; make its "
                "expressions narrower"
            )
        found[new] = value
    return found


def _chosen(parts: list[Part], ema: bool | None, origin: str) -> Part:
    """Choose among the parts that fit: raw or averaged, then by the usual place."""
    found = [part for part in parts if ema is None or part.averaged == ema]
    if not found:
        there = ", ".join(part.words for part in parts)
        wanted, other = ("EMA", "raw") if ema else ("raw", "EMA")
        raise WeightsError(
            f"{origin}: `ema: {str(ema).lower()}` asks for {wanted} weights, but the file has "
            f"{other} ones alone (at {there}); leave `ema` out"
        )
    found = [part for part in found if not part.averaged] or found
    ranks = [USUAL.index(part.place) if part.place in USUAL else len(USUAL) for part in found]
    found = [part for part, rank in zip(found, ranks, strict=True) if rank == min(ranks)]
    found = [part for part in found if not part.prefix] or found
    first, *others = found
    for other in others:
        if not _equal(first.state, other.state):
            cure = "save the one that you mean alone"
            if first.place == other.place:
                cure = (
                    f"take one by `rename` of the zoo entry: [['^{re.escape(first.prefix)}', '']]"
                )
            raise WeightsError(
                f"{origin}: the model is there more than once, at {first.words} and {other.words}, "
                f"and not the same; {cure}"
            )
    return first


def _equal(one: State, other: State) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items() if name in other)


def _told(part: Part, parts: list[Part], model: nn.Module, ema: bool | None) -> Fit:
    """Return what was chosen, and say what was not."""
    notes = [f"weights at {part.words}", *part.notes]
    others = [other for other in parts if other.averaged != part.averaged]
    if others and ema is None:
        notes.append(f"raw weights taken; `ema: true` takes the averaged ones at {others[0].words}")
    classifier = part.state.get(f"{anatomy_of(model).classifier}.weight")
    if part.left_out:
        few = ", ".join(part.left_out[:3])
        notes.append(f"{len(part.left_out)} tensors left out that are not the model's: {few}")
    if classifier is None:
        notes.append("no classifier that fits: the model has no classes")
    return Fit(part.state, 0 if classifier is None else len(classifier), notes)


def _in_order(groups: Mapping[str, State], model: nn.Module, origin: str) -> Fit:
    """Match tensors by order, in the largest part of the file where none fits whole."""
    places = sorted(
        places_of(groups, model), key=lambda one: (not same_order(one[2], model), -len(one[2]))
    )
    state = places[0][2] if places else max(groups.values(), key=len)
    try:
        named = named_in_order(state, model)
    except ValueError as error:
        raise WeightsError(
            f"{origin}: {error}\nCorrect 'architecture', or take the weights of another file"
        ) from None
    classifier = named.get(f"{anatomy_of(model).classifier}.weight")
    return Fit(named, 0 if classifier is None else len(classifier), ["tensors matched by order"])


def _refusal(groups: Mapping[str, State], parts: list[Part], model: nn.Module, origin: str) -> str:
    """Say why no part of a file fits, by the part that comes nearest."""
    name = type(model).__name__
    if any(same_order(state, model) for _, _, state in places_of(groups, model)):
        return (
            f"{origin}: same shapes in the same order as {name}, names differ: add `order: true` "
            "to the zoo entry"
        )
    nearest = min(parts, key=lambda part: (-part.fitting, len(part.problems)))
    own = model.state_dict()
    wanted = Counter(tuple(own[name].shape) for name in trunk_of(model))
    there = Counter(tuple(value.shape) for state in groups.values() for value in state.values())
    cure = "is it a checkpoint of another architecture? Correct 'architecture' or the weights"
    if not nearest.state and not wanted - there:
        cure = "all shapes are there, names differ: give `rename` in the zoo entry"
    problems = list(nearest.problems)
    if not nearest.fitting:
        problems += [f"in the file: {nearest.prefix}{other}" for other in nearest.left_out]
    return misfit(f"{origin}: {len(nearest.problems)} tensors do not fit {name}", problems, cure)
