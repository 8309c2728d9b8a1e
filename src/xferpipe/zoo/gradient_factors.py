"""Per-image gradients by the weights of a model's last convolution, as products of two factors.

The gradient of image i is D_i A_i^T: D_i (output channels, positions) by the convolution's output,
A_i (input channels x kernel, positions) its input patches. One backward pass of the layers behind
the convolution gives D for a whole batch; the weights' gradients are never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from xferpipe.zoo.build import anatomy_of, classifier_of
from xferpipe.zoo.feature_pass import layer_input

Factors = tuple[torch.Tensor, torch.Tensor]
#: Per-image scalars (b) to differentiate, from features (b, d) and logits (b, z).
Scalar = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def last_convolution(model: nn.Module) -> nn.Module:
    """Return the layer that gradients are taken by: a convolution, or a linear layer."""
    return model.get_submodule(anatomy_of(model).last_convolution)


def batch_factors(model: nn.Module, images: torch.Tensor, scalar: Scalar) -> Factors:
    """Return D and A of one batch.

    Args:
        model: A model of `build_model`, in evaluation mode.
        images: Normalised images, float (b, 3, h, w).
        scalar: Per-image scalar of features and logits.
    Returns:
        Gradients by the layer's output (b, output channels, positions); input patches
        (b, input channels x kernel, positions).
    Raises:
        ValueError: The layer cannot be unfolded.
    """
    layer = last_convolution(model)
    with torch.enable_grad(), _cut(layer) as seen, layer_input(classifier_of(model)) as features:
        logits = model(images).flatten(1)
        given, made = seen[-1]
        (gradient,) = torch.autograd.grad(scalar(features[-1], logits).sum(), made)
    return _positions(gradient, layer), _patches(given, layer, gradient)


@contextmanager
def _cut(layer: nn.Module) -> Iterator[list[Factors]]:
    """Make the layer's output the start of the graph: nothing before it is differentiated."""
    seen: list[Factors] = []

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], made: torch.Tensor):
        start = made.detach().requires_grad_()
        seen.append((inputs[0].detach(), start))
        # In-place activations would overwrite the leaf itself.
        return start.clone()

    handle = layer.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def _positions(values: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """Return a layer's output as (b, channels, positions)."""
    if isinstance(layer, nn.Linear):
        return values.reshape(len(values), -1, values.shape[-1]).transpose(1, 2)
    return values.flatten(2)


def _patches(given: torch.Tensor, layer: nn.Module, gradient: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, nn.Linear):
        return _positions(given, layer)
    if not isinstance(layer, nn.Conv2d) or isinstance(layer.padding, str):
        raise ValueError(
            f"the gradient scores cannot unfold a {type(layer).__name__}; expected a Conv2d with "
            "padding in pixels, or a linear layer"
        )
    patches = functional.unfold(
        given, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    if patches.shape[2] != gradient.flatten(2).shape[2]:
        raise ValueError(
            f"{type(layer).__name__} has {gradient.flatten(2).shape[2]} output positions but "
            f"{patches.shape[2]} input patches; it pads in a way of its own"
        )
    return patches
