"""Weights on disk: safetensors under the model's own names, with what is needed to rebuild it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.records import RecordError, read_tensors
from xferpipe.records.tensors import save_tensors
from xferpipe.zoo.build import (
    anatomy_of,
    build_model,
    classifier_of,
    outputs_of,
    replace_classifier,
)
from xferpipe.zoo.memory_format import in_channels_last
from xferpipe.zoo.nearest_neighbours import NearestNeighbours
from xferpipe.zoo.surgery import ask_neighbours, restructure

#: How many tensors a refusal lists.
_SHOWN = 5


class WeightsError(ValueError):
    """Weights cannot be read, or do not belong to the model they are meant for."""


def save_weights(model: nn.Module, path: Path | str) -> None:
    """Write a model's state dict, classifier included, atomically.

    The metadata says how many classes and which surgery the model has, and whether it changes the
    normalisation of its images itself, so that the file and the model's `ModelSpec` rebuild it.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    content = {"outputs": outputs_of(model), "surgery": getattr(model, "surgery", {})}
    if getattr(model, "transform_input", False):
        content["transform_input"] = True
    save_tensors(state, {"xferpipe": json.dumps(content, sort_keys=True)}, path=path)


def read_weights(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Read a weights file.

    Returns:
        State dict; description (`outputs`, `surgery`, `transform_input` where it is true), empty
        for files of other programs.
    Raises:
        WeightsError: There is no such file, it is no safetensors file, or its description is
            damaged.
    """
    try:
        state, metadata = read_tensors(path, framework="pt")
    except RecordError as error:
        raise WeightsError(str(error)) from None
    text = metadata.get("xferpipe", "{}")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError):
        description = None
    # Checked against the tensors: a model of as many classes as a damaged number says is not built.
    sizes = [0, *(len(value) for value in state.values() if value.ndim)]
    if (
        not isinstance(description, dict)
        or not isinstance(description.get("surgery", {}), dict)
        or ("outputs" in description and description["outputs"] not in sizes)
    ):
        raise WeightsError(
            f"{path}: its description is damaged ({text[:100]!r}), expected JSON with the classes "
            "and the surgery of a model that these tensors fit; make the file again"
        )
    return state, description


def load_state(
    model: nn.Module, state: Mapping[str, torch.Tensor], *, origin: str, classifier: bool = True
) -> None:
    """Load a state dict; every key and shape must fit.

    Args:
        model: A model of `build_model`.
        state: Tensors by the model's own names.
        origin: What the weights are, named in errors.
        classifier: False leaves the model's own classifier as it is, whatever the state holds.
    Raises:
        WeightsError: Keys are missing or unknown or shapes differ; five are listed.
    """
    own = model.state_dict()
    beginning = f"{anatomy_of(model).classifier}."
    skipped = set() if classifier else {name for name in own if name.startswith(beginning)}
    if not classifier:
        state = {name: value for name, value in state.items() if not name.startswith(beginning)}
    # Counters that weights from before batch norm counted its batches do not have.
    optional = {name for name in own if name.endswith(".num_batches_tracked")}
    problems = [
        f"missing: {name} {tuple(own[name].shape)}"
        for name in own
        if name not in state and name not in skipped and name not in optional
    ]
    problems += [f"unknown: {name} {tuple(state[name].shape)}" for name in state if name not in own]
    problems += [
        f"shape: {name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if problems:
        raise WeightsError(
            misfit(
                f"{origin}: {len(problems)} tensors do not fit {type(model).__name__}",
                problems,
                "is it a checkpoint of another architecture? Correct 'architecture' or the weights",
            )
        )
    # Modules that have changed since ask for their version, and these names are today's.
    versioned = OrderedDict(state)
    versioned._metadata = own._metadata
    model.load_state_dict(versioned, strict=False)


def misfit(headline: str, problems: Sequence[str], cure: str) -> str:
    """Return the text of a refusal: five of the tensors that do not fit, of every sort some.

    Args:
        headline: What does not fit, with the count.
        problems: `missing: ...`, `unknown: ...` and `shape: ...`, one a tensor.
        cure: What to do.
    """
    sorts: dict[str, list[str]] = {}
    for problem in problems:
        sorts.setdefault(problem.partition(":")[0], []).append(problem)
    by_turns = [one for turn in zip_longest(*sorts.values()) for one in turn if one is not None]
    return "\n  ".join([f"{headline}; {cure}:", *by_turns[:_SHOWN]])


def describe(
    model: nn.Module, description: Mapping[str, object], *, origin: str, images: int = 0
) -> None:
    """Make a fresh model what the description of a weights file says of it, weights excepted.

    Args:
        model: A model of `build_model`.
        description: As `read_weights` returns it.
        origin: What the weights are, named in errors.
        images: Training images that a k-NN classifier remembers.

    Raises:
        WeightsError: The description is of another architecture, or damaged.
    """
    try:
        if description.get("surgery"):
            restructure(model, description["surgery"])
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"{origin}: surgery {description['surgery']} does not fit {type(model).__name__} "
            f"({error}); correct 'architecture', or make the file again"
        ) from None
    if knn := description.get("surgery", {}).get("knn"):
        try:
            ask_neighbours(model, knn, outputs=int(description["outputs"]))
            classifier_of(model).make_room(images)
        except (TypeError, ValueError) as error:
            raise WeightsError(
                f"{origin}: its k-NN options {knn} are damaged ({error}); make the file again"
            ) from None
    if description.get("transform_input"):
        # A flag and no tensor: published weights of GoogLeNet and Inception want other means and
        # deviations, and their forward makes them from ImageNet's.
        model.transform_input = True


def load_model(spec: ModelSpec, path: Path | str) -> nn.Module:
    """Rebuild the model of a weights file that this package wrote, in evaluation mode.

    Raises:
        WeightsError: The file cannot be read, or is of another architecture.
    """
    state, description = read_weights(path)
    if "outputs" not in description:
        raise WeightsError(
            f"{path} was not written by xferpipe; load it through a zoo entry with weights: file"
        )
    model = build_model(spec, int(description["outputs"]))
    remembered = state.get(f"{anatomy_of(model).classifier}.labels", ())
    describe(model, description, origin=str(path), images=len(remembered))
    if description.get("surgery") and not isinstance(classifier_of(model), NearestNeighbours):
        replace_classifier(model, int(description["outputs"]))
    load_state(model, state, origin=str(path))
    in_channels_last(model)
    return model.eval()
