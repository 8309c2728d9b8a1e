"""Weights of a file: safetensors, or a torch file that holds tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import anatomy_of, build_model, replace_classifier
from xferpipe.zoo.order import named_in_order, same_order
from xferpipe.zoo.weights import WeightsError, describe, load_state, read_weights

#: Keys under which training programs put the weights, in the order they are looked for.
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema")
#: What wrappers of a model put before its own names.
BEGINNINGS = ("module.", "_orig_mod.")


def load(spec: ModelSpec, name: str, *, order: bool = False) -> tuple[nn.Module, dict[str, object]]:
    """Return a model with the weights of a file, its classifier as wide as the file's.

    Args:
        spec: The architecture that the weights belong to.
        name: Path of the file.
        order: Where its names are not the architecture's, match its tensors by their order.
    Raises:
        WeightsError: The file is missing, holds more than tensors, or does not fit; every tensor
            that does not fit is listed, by order the first five.
    """
    path = Path(name)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; put the weights there or correct 'name'")
    description: dict[str, object] = {}
    if path.suffix == ".safetensors":
        state, description = read_weights(path)
    else:
        state = _torch_file(path)
    state = {_own_name(name): value for name, value in state.items()}
    model = build_model(spec, 1)
    describe(model, description, origin=str(path))
    state = _named(state, model, order=order, origin=str(path))
    classifier = state.get(f"{anatomy_of(model).classifier}.weight")
    outputs = 0 if classifier is None else len(classifier)
    replace_classifier(model, outputs)
    load_state(model, state, origin=str(path), classifier=classifier is not None)
    return model, {"source_classes": outputs or None}


def _named(
    state: dict[str, torch.Tensor], model: nn.Module, *, order: bool, origin: str
) -> dict[str, torch.Tensor]:
    """Return the tensors by the model's own names, where the file has others and `order` is set."""
    if state.keys() <= model.state_dict().keys():
        return state
    if order:
        try:
            return named_in_order(state, model)
        except ValueError as error:
            raise WeightsError(
                f"{origin}: {error}\nCorrect 'architecture', or take the weights of another file"
            ) from None
    if same_order(state, model):
        raise WeightsError(
            f"{origin}: same shapes in the same order as {type(model).__name__}, names differ: add "
            "`order: true` to the zoo entry"
        )
    return state


def _torch_file(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for files it will not read
        raise WeightsError(
            f"{path}: cannot be read as tensors alone ({type(error).__name__}); nothing else is "
            "unpickled. Save its state dict, best as safetensors"
        ) from None
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: expected a state dict, found {type(content).__name__}")
    strange = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise WeightsError(
            f"{path}: expected tensors, but {', '.join(map(str, strange[:5]))} are none; save the "
            "state dict alone"
        )
    return dict(content)


def _own_name(name: str) -> str:
    # Wrappers stand in each other, in either order: `_orig_mod.module.` of a compiled DDP.
    while (beginning := next(filter(name.startswith, BEGINNINGS), None)) is not None:
        name = name.removeprefix(beginning)
    return name
