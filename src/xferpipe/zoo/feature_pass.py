"""Features and logits of images in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from xferpipe.zoo.build import classifier_of


@contextmanager
def layer_input(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect the input of a layer, float (n, d), of every forward pass inside the block."""
    seen: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].flatten(1))

    handle = layer.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def features_and_logits(
    model: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pass images through a model.

    Args:
        model: A model of `build_model`, in evaluation mode for reproducible features.
        images: Normalised images, float (n, 3, h, w).
    Returns:
        Features, the input of the classifier, float (n, d); logits, float (n, c).
    """
    with layer_input(classifier_of(model)) as seen:
        logits = model(images)
    return seen[-1], logits.flatten(1)
