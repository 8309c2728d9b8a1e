"""Weights of timm, by tag."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.architectures.timm_models import is_projection, side_option
from xferpipe.zoo.build import build_model
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.weights import WeightsError, load_state


def load(spec: ModelSpec, name: str) -> tuple[nn.Module, dict[str, object]]:
    """Return a model with the weights of a tag, and what timm says of them.

    A file `<architecture>.<tag>.safetensors` among torch's cached checkpoints is taken first, then
    timm's own cache, then timm fetches it.

    Args:
        spec: An architecture `timm:<name>`.
        name: Tag, for example goog_in21k_ft_in1k.
    Raises:
        WeightsError: No such tag, or its weights are neither cached nor to be had.
    """
    import timm

    architecture = spec.architecture.removeprefix("timm:")
    full = f"{architecture}.{name}"
    known = timm.list_pretrained(f"{architecture}.*")
    if full not in known:
        tags = ", ".join(entry.partition(".")[2] for entry in known)
        raise WeightsError(f"timm has no weights {full!r}; allowed tags: {tags or '(none)'}")
    about: dict[str, object] = {"recipe": name}
    file = Path(torch.hub.get_dir()) / "checkpoints" / f"{full}.safetensors"
    if file.exists():
        model, found = file_weights.load(spec, str(file))
        return model, about | found
    try:
        # timm resamples the position embedding where the side is another.
        made = timm.create_model(full, pretrained=True, **side_option(spec))
    except Exception as error:  # the hub's client raises many types when it is offline
        raise WeightsError(
            f"{full}: not in timm's cache, and it cannot be fetched ({type(error).__name__}); "
            f"download its model.safetensors on another machine and put it at {file}"
        ) from None
    # Models that learned without labels have no classifier, as DINOv2, or a projection, as CLIP.
    classes = 0 if is_projection(spec.architecture, made.num_classes) else made.num_classes
    model = build_model(spec, classes)
    load_state(model, made.state_dict(), origin=full, classifier=classes > 0)
    return model, about | {"source_classes": classes or None}
