"""What other versions and programs called or shaped the tensors of an architecture.

Every function takes a state dict and returns another one; what it cannot use it leaves as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from unittest import mock

import torch
from torch import nn

from xferpipe.zoo.build import anatomy_of

State = Mapping[str, torch.Tensor]

#: Names of torchvision's published files -> names of its models: of DenseNets, which Python
#: attributes cannot have, and of the vision transformers before `MLP` was a class of its own.
_OF_TORCHVISION = (
    (re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$"), r"\1\2"),
    (re.compile(r"^(.*\.mlp)\.linear_1\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^(.*\.mlp)\.linear_2\.(weight|bias)$"), r"\1.3.\2"),
)
#: Name of torchvision's position embeddings.
_POSITIONS = "encoder.pos_embedding"


def in_torchvisions_names(state: State) -> dict[str, torch.Tensor]:
    """Give tensors of torchvision's old files the names of its models."""
    found = {}
    for name, value in state.items():
        for pattern, replacement in _OF_TORCHVISION:
            name = pattern.sub(replacement, name)
        found[name] = value
    return found


def timms_filter(architecture: str) -> Callable[[State, nn.Module], State] | None:
    """Return the function by which timm converts files of a model's authors; None without one.

    Args:
        architecture: `timm:<name>`, or any other name, for which there is none.
    """
    if not architecture.startswith("timm:"):
        return None
    import timm
    from timm.models import _builder

    # A model's entry point hands the function to `load_pretrained` and to nothing else.
    with mock.patch.object(_builder, "load_pretrained") as loading:
        timm.create_model(architecture.removeprefix("timm:"), pretrained=True)
    found = loading.call_args.kwargs.get("filter_fn") if loading.called else None
    return None if found is None else lambda state, model: _filtered(found, state, model)


def _filtered(function: Callable, state: State, model: nn.Module) -> State:
    # The functions take tensors out of what they are given, and fail on files of other models.
    for arguments in ((dict(state), model), (dict(state),)):
        try:
            return function(*arguments)
        except Exception:
            continue
    return state


def with_stem(state: State, model: nn.Module) -> tuple[State, str]:
    """Bring a first convolution that sees other than three channels to the three of images.

    As timm does it: of one channel, each of the three gets a third, so that grey images give what
    they gave; of more, the first three are kept and scaled by their number over three.

    Returns:
        The state, and what was done in words; empty where nothing was.
    """
    name = f"{anatomy_of(model).stem}.weight"
    own, given = model.state_dict().get(name), state.get(name)
    if own is None or given is None or given.ndim != 4 or own.shape[1] != 3:
        return state, ""
    channels = given.shape[1]
    if (
        channels == 3
        or not channels
        or given.shape[:1] + given.shape[2:] != own.shape[:1] + own.shape[2:]
    ):
        return state, ""
    from timm.models import adapt_input_conv

    adapted = adapt_input_conv(3, given, base_chans=channels)
    return {**state, name: adapted}, f"{name}: {channels} input channels adapted to 3"


def with_positions(state: State, model: nn.Module) -> State:
    """Resample position embeddings of torchvision's transformers to the side of the model."""
    own, given = model.state_dict().get(_POSITIONS), state.get(_POSITIONS)
    if own is None or given is None or own.shape[2:] != given.shape[2:] or own.shape == given.shape:
        return state
    from torchvision.models.vision_transformer import interpolate_embeddings

    try:
        return interpolate_embeddings(model.image_size, model.patch_size, dict(state))
    except ValueError:  # no square of patches
        return state
