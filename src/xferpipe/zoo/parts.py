"""Parts of a file, each the tensors below one beginning of names, held against a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from xferpipe.zoo.anatomy import Anatomy
from xferpipe.zoo.build import anatomy_of
from xferpipe.zoo.conversions import (
    State,
    in_torchvisions_names,
    timms_filter,
    with_positions,
    with_stem,
)

#: Words in a place or a beginning of names that say that the tensors are running averages.
_AVERAGED = re.compile(
    r"(?:^|[._])(?:ema|teacher|momentum|averaged|swa|encoder_k|target)(?=[._]|$)"
)
#: What timm's conversions resample: position embeddings and biases, and patch embeddings.
_RESAMPLED = re.compile(r"pos_embed|rel_pos|relative_position|patch_embed")
#: Buffers that programs add or leave out, and that no prediction needs.
_COUNTERS = (".num_batches_tracked", ".total_ops", ".total_params")


@dataclass
class Part:
    """The tensors of a file below one beginning of names, held against a model.

    Attributes:
        place: Where the state dict stands in the file; `prefix`: what its names begin with.
        state: The tensors of the model's trunk and, where it fits, classifier.
        left_out: Names of the other tensors of the place.
        problems: What does not fit, one text a tensor.
    """

    place: str
    prefix: str
    state: dict[str, torch.Tensor]
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fitting(self) -> int:
        """How many of the model's tensors are there."""
        return len(self.state) - sum(problem.startswith("shape:") for problem in self.problems)

    @property
    def averaged(self) -> bool:
        """Whether these are running averages (EMA) of weights."""
        return bool(_AVERAGED.search(f"{self.place}.{self.prefix}"))

    @property
    def words(self) -> str:
        """Where the part stands in its file."""
        below = f"{self.prefix}*" if self.prefix else ""
        return " ".join(filter(None, (self.place, below))) or "the top"


def parts_of(groups: Mapping[str, State], model: nn.Module, architecture: str) -> list[Part]:
    """Hold every part of a file against a model.

    Args:
        groups: State dicts by their place in the file.
        model: A model of `build_model`.
        architecture: Its name.
    Returns:
        The parts as they stand; where none fits, as timm converts them too. A file with fewer
        tensors than half the model has each of its state dicts as one part.
    """
    places = list(places_of(groups, model)) or [(place, "", groups[place]) for place in groups]
    parts = [_part(place, prefix, state, model) for place, prefix, state in places]
    if all(part.problems for part in parts) and (convert := timms_filter(architecture)) is not None:
        for place, prefix, state in places:
            converted = convert(state, model)
            part = _part(place, prefix, converted, model)
            part.notes += _resampled(state, converted)
            parts.append(part)
    return parts


def places_of(groups: Mapping[str, State], model: nn.Module) -> Iterator[tuple[str, str, State]]:
    """Yield (place, beginning of names, tensors below it) of all parts that may be the model."""
    enough = len(trunk_of(model)) / 2
    for place, state in groups.items():
        counts = Counter(
            name[: i + 1] for name in state for i, letter in enumerate(name) if letter == "."
        )
        for prefix in ("", *counts):
            if (counts[prefix] if prefix else len(state)) >= enough:
                below = {
                    name.removeprefix(prefix): value
                    for name, value in state.items()
                    if name.startswith(prefix)
                }
                yield place, prefix, in_torchvisions_names(below)


def _part(place: str, prefix: str, state: State, model: nn.Module) -> Part:
    """Hold tensors against a model."""
    state, note = with_stem(with_positions(state, model), model)
    own, trunk = model.state_dict(), trunk_of(model)
    part = Part(place, prefix, {name: state[name] for name in trunk if name in state})
    part.notes += [note] if note else []
    for name, value in part.state.items():
        if value.shape != own[name].shape:
            shapes = tuple(value.shape), tuple(own[name].shape)
            part.problems.append(f"shape: {name} is {shapes[0]}, expected {shapes[1]}")
    for name in trunk:
        if name not in state and not name.endswith(_COUNTERS):
            part.problems.append(f"missing: {name} {tuple(own[name].shape)}")
    head = [name for name in own if name not in trunk]
    if all(name in state and state[name].shape[1:] == own[name].shape[1:] for name in head) and (
        len({len(state[name]) for name in head}) == 1
    ):
        part.state |= {name: state[name] for name in head}
    rest = [name for name in state if name not in part.state and not name.endswith(_COUNTERS)]
    strange = _trunks({name.partition(".")[0] for name in rest}, trunk, anatomy_of(model))
    for name in rest:
        if name.partition(".")[0] in strange:
            part.problems.append(f"unknown: {name} {tuple(state[name].shape)}")
        else:
            part.left_out.append(name)
    return part


def trunk_of(model: nn.Module) -> dict[str, None]:
    """Return the names of all tensors but the classifier's, in their order."""
    classifier = f"{anatomy_of(model).classifier}."
    return dict.fromkeys(name for name in model.state_dict() if not name.startswith(classifier))


def _trunks(tops: Iterable[str], trunk: Iterable[str], anatomy: Anatomy) -> set[str]:
    """Choose the first parts of names that are of a trunk like the model's, as more layers are.

    Without it a file of a deeper model of the same widths would be taken for a shallower one's.
    """
    own = {name.partition(".")[0] for name in trunk}
    numbered = set(map(_without_digits, own)) - own
    head = anatomy.classifier.partition(".")[0]
    return {
        top
        for top in tops
        if top != head
        and (top in own or (_without_digits(top) != top and _without_digits(top) in numbered))
    }


def _without_digits(name: str) -> str:
    return re.sub(r"\d+", "", name)


def _resampled(state: State, converted: State) -> list[str]:
    """Say which tensors timm resampled; others of another shape were given another name."""
    return [
        f"{name} resampled from {tuple(state[name].shape)} to {tuple(value.shape)} as timm does"
        for name, value in converted.items()
        if _RESAMPLED.search(name) and name in state and state[name].shape != value.shape
    ]
