"""Weights of a file as people have it: safetensors, whole or sharded, or a torch file."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.datasets.weight_files import WeightFileError, form_of, tensor_files_of
from xferpipe.zoo.architectures.timm_models import is_projection
from xferpipe.zoo.build import build_model, replace_classifier
from xferpipe.zoo.fitting import fit
from xferpipe.zoo.torch_file import read_torch_file
from xferpipe.zoo.weights import WeightsError, describe, load_state, read_weights

log = logging.getLogger(__name__)


def load(
    spec: ModelSpec,
    name: str,
    *,
    order: bool = False,
    ema: bool | None = None,
    rename: tuple[tuple[str, str], ...] = (),
) -> tuple[nn.Module, dict[str, object]]:
    """Return a model with the weights of a file, its classifier as wide as the file's.

    Args:
        spec: The architecture that the weights belong to.
        name: Path of the file, of the index of sharded ones, or of a folder with either.
        order: Where its names are not the architecture's, match its tensors by their order.
        ema: True takes averaged weights, False raw ones; None raw ones where both are there.
        rename: Pairs (regular expression, replacement) for the names in the file.
    Raises:
        WeightsError: The file is missing, holds code, is something else, or does not fit: says what
            it is, or names five tensors and how many there are.
    """
    try:
        groups, description = _read(Path(name))
    except WeightFileError as error:
        raise WeightsError(str(error)) from None
    model = build_model(spec, 1)
    # A vote of its training images is no classifier of a source: the trunk alone is taken.
    surgery = description.get("surgery", {})
    description = description | {"surgery": {k: v for k, v in surgery.items() if k != "knn"}}
    describe(model, description, origin=name)
    found = fit(
        groups,
        model,
        architecture=spec.architecture,
        origin=name,
        order=order,
        ema=ema,
        rename=rename,
    )
    for note in found.notes:
        log.info("%s: %s", name, note)
    classes = found.outputs
    if is_projection(spec.architecture, classes):
        log.info("%s: its last layer projects beside texts: the model has no classes", name)
        classes = 0
    replace_classifier(model, classes)
    load_state(model, found.state, origin=name, classifier=classes > 0)
    return model, {"source_classes": classes or None}


def _read(path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, object]]:
    """Read the tensors of all files of a path, by their place in them, and our own description."""
    groups: dict[str, dict[str, torch.Tensor]] = {}
    description: dict[str, object] = {}
    for file in tensor_files_of(path):
        form = form_of(file)
        if form == "torch":
            found = read_torch_file(file)
        else:
            state, description = read_weights(file)
            found = {"": state}
        if file.suffix == ".safetensors" and form == "torch":
            log.info("%s: a torch file in spite of its name, read as one", file)
        for place, state in found.items():
            groups.setdefault(place, {}).update(state)
    return groups, description
