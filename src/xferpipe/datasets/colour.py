"""Colour augmentation of whole batches: pixels float (b, 3, h, w) in [0, 1], one draw an image."""

from __future__ import annotations

from typing import Literal

import torch

from xferpipe.datasets.transfer import onto

_GREY = (0.2989, 0.587, 0.114)
#: Principal components of ImageNet's RGB values: eigenvalues, and eigenvectors as columns.
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def jitter(
    pixels: torch.Tensor, strengths: tuple[float, float, float, float], draw: torch.Generator
) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue by random factors, in one order a batch.

    Args:
        pixels: float (b, 3, h, w) in [0, 1].
        strengths: A factor is drawn from [max(0, 1 - s), 1 + s]; the hue's shift from [-s, s].
        draw: Source of the factors and of the order.
    Returns:
        float (b, 3, h, w) in [0, 1].
    """
    b = len(pixels)
    order = torch.randperm(4, generator=draw).tolist()
    uniform = onto(torch.rand(4, b, generator=draw), pixels.device)
    for i in order:
        strength = strengths[i]
        if strength == 0:
            continue
        if i == 3:
            pixels = shift_hue(pixels, strength * (2 * uniform[3] - 1))
            continue
        low = max(0.0, 1 - strength)
        factor = (low + (1 + strength - low) * uniform[i]).view(-1, 1, 1, 1)
        if i == 0:
            base = torch.zeros_like(pixels[:1, :1, :1, :1])
        else:
            base = grey(pixels) if i == 2 else grey(pixels).mean((1, 2, 3), keepdim=True)
        pixels = (base + factor * (pixels - base)).clamp(0, 1)
    return pixels


def grey(pixels: torch.Tensor) -> torch.Tensor:
    """Return the luma of pixels (b, 3, h, w): (b, 1, h, w)."""
    weights = onto(torch.tensor(_GREY, dtype=pixels.dtype), pixels.device)
    return (pixels * weights.view(3, 1, 1)).sum(1, keepdim=True)


def shift_hue(pixels: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Turn the hue of each image by a share of the full circle.

    Args:
        pixels: float (b, 3, h, w) in [0, 1].
        shift: Turns, float (b) in [-0.5, 0.5].
    Returns:
        float (b, 3, h, w).
    """
    red, green, blue = pixels.unbind(1)
    value, lowest = pixels.amax(1), pixels.amin(1)
    chroma = value - lowest
    safe = chroma + (chroma == 0)
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth = sixth + 6 * shift.view(-1, 1, 1)
    channels = []
    for offset in (5, 3, 1):
        k = offset + sixth
        k -= 6 * (k / 6).floor()  # several times as fast as % on processors
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, 1)


def pca_lighting(
    pixels: torch.Tensor,
    definition: Literal["alexnet", "torchreid"],
    std: float,
    probability: float,
    draw: torch.Generator,
) -> torch.Tensor:
    """Add to each image, with a probability, one random colour along ImageNet's principal axes.

    `alexnet` adds E (a * l): eigenvectors E as columns, eigenvalues l, a ~ N(0, std^2).
    `torchreid` holds E with its columns in the reverse order and multiplies from the other side,
    so that rows serve as axes; it is kept for results that were made with it.

    Source:
        Krizhevsky et al., NIPS 2012, section 4.1; torchreid's ColorAugmentation.
    """
    axes = torch.tensor(_EIGENVECTORS)
    if definition == "torchreid":
        axes = axes.flip(1).T
    b = len(pixels)
    chosen = torch.rand(b, 1, generator=draw) < probability
    strength = torch.randn(b, 3, generator=draw) * std * torch.tensor(_EIGENVALUES)
    colour = (strength @ axes.T) * chosen
    return pixels + onto(colour.view(b, 3, 1, 1), pixels.device)
