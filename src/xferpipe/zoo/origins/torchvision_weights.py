"""Weights of torchvision, by weight name: IMAGENET1K_V1 and _V2 are two zoo entries."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import build_model
from xferpipe.zoo.conversions import in_torchvisions_names, with_positions
from xferpipe.zoo.weights import WeightsError, load_state


def load(spec: ModelSpec, name: str) -> tuple[nn.Module, dict[str, object]]:
    """Return a model with the weights of a name, and what torchvision says of them.

    Args:
        spec: A torchvision architecture.
        name: For example IMAGENET1K_V2.
    Raises:
        WeightsError: No such weights, or they are neither cached nor to be had.
    """
    from torchvision import models

    try:
        known = models.get_model_weights(spec.architecture)
    except ValueError:
        raise WeightsError(
            f"torchvision has no weights for {spec.architecture!r}; expected one of its models"
        ) from None
    if name not in known.__members__:
        raise WeightsError(
            f"torchvision has no weights {name!r} of {spec.architecture}; "
            f"allowed: {', '.join(known.__members__)}"
        )
    weights = known[name]
    state = in_torchvisions_names(_read(weights))
    classes = len(weights.meta["categories"])
    model = build_model(spec, classes)
    if spec.architecture in ("googlenet", "inception_v3"):
        state = {key: value for key, value in state.items() if not key.lower().startswith("aux")}
        model.transform_input = True
    load_state(model, with_positions(state, model), origin=f"{spec.architecture} {name}")
    (source, metrics), *_ = weights.meta["_metrics"].items()
    return model, {
        "recipe": name,
        "source": source,
        "source_classes": classes,
        "source_accuracy": metrics["acc@1"] / 100,
    }


def _read(weights: object) -> dict[str, torch.Tensor]:
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
    try:
        return weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, weights_only=True, map_location="cpu"
        )
    except OSError as error:
        raise WeightsError(
            f"{file}: no such file, and it cannot be fetched ({error}); download {weights.url} on "
            "another machine and put it there, or set TORCH_HOME to where it is"
        ) from None
    except Exception as error:  # damaged files end in errors of pickle, zipfile or torch
        raise WeightsError(
            f"{file}: cannot be read ({type(error).__name__}); put {weights.url} in its place"
        ) from None
