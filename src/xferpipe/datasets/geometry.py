"""Where pixels go: resizing, cropping, mirroring, turning and erasing of whole batches.

Random numbers are drawn on the CPU from the generator that is given, one set for each image.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy
import torch

from xferpipe.datasets.transfer import onto

Interpolation = Literal["bilinear", "bicubic"]


def resized(images: torch.Tensor, side: int, interpolation: Interpolation) -> torch.Tensor:
    """Resize uint8 images (b, 3, h, w) to (b, 3, side, side), antialiased."""
    if images.shape[-2:] == (side, side):
        return images
    pixels = torch.nn.functional.interpolate(
        images.float(), (side, side), mode=interpolation, antialias=True
    )
    return _bytes(pixels)


def centre_crop(images: torch.Tensor, side: int) -> torch.Tensor:
    """Cut the middle (b, 3, side, side) out of images (b, 3, h, w).

    Raises:
        ValueError: The images are smaller than the crop.
    """
    height, width = images.shape[-2:]
    if side > min(height, width):
        raise ValueError(
            f"val_crop_size ({side}) is larger than the images ({height} x {width} px); set "
            "val_resize_size, or image_px of the data set, to at least as much"
        )
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side]


def random_crop(
    images: torch.Tensor, side: int, padding_px: int, draw: torch.Generator
) -> torch.Tensor:
    """Pad uint8 images (b, 3, h, w) with zeros and cut a random (b, 3, side, side) out of each.

    Raises:
        ValueError: The padded images are smaller than the crop.
    """
    images = torch.nn.functional.pad(images, (padding_px,) * 4)
    b, _, height, width = images.shape
    if side > min(height, width):
        raise ValueError(
            f"train_crop_size ({side}) is larger than the padded images ({height} x {width} px); "
            "set train_resize_size, or image_px of the data set, to at least as much"
        )
    top = onto(torch.randint(height - side + 1, (b, 1), generator=draw), images.device)
    left = onto(torch.randint(width - side + 1, (b, 1), generator=draw), images.device)
    offset = torch.arange(side, device=images.device)
    places = (top + offset)[:, :, None] * width + (left + offset)[:, None, :]
    places = places.view(b, 1, side * side).expand(b, 3, -1)
    return images.flatten(2).gather(2, places).view(b, 3, side, side)


def random_resized_crop(
    images: torch.Tensor,
    side: int,
    area: tuple[float, float],
    interpolation: Interpolation,
    draw: torch.Generator,
) -> torch.Tensor:
    """Cut a box of random area and shape out of each image and resize it to (side, side).

    A box has `area` of the image and sides in a ratio of 3/4 to 4/3; ten are tried, then the
    largest centred one is taken, as in torchvision. Resizing is separable, so each image's crop and
    antialiased resize are two small matrices and the whole batch is two matrix products.

    Args:
        images: uint8 (b, 3, h, w).
        side: Side of the result in pixels.
        area: Smallest and largest share of the area.
        interpolation: Filter of the resize.
        draw: Source of the boxes.
    Returns:
        uint8 (b, 3, side, side).
    """
    height, width = images.shape[-2:]
    top, left, tall, wide = _boxes(len(images), height, width, area, (3 / 4, 4 / 3), draw)
    top, left, tall, wide = (onto(value, images.device) for value in (top, left, tall, wide))
    rows = resize_matrices(top, tall, height, side, interpolation)
    columns = resize_matrices(left, wide, width, side, interpolation)
    # The channels of an image side by side: a matrix for each of them would be copied three times.
    across = (images.float().flatten(1, 2) @ columns.transpose(1, 2)).unflatten(1, (3, height))
    down = rows @ across.transpose(1, 2).flatten(2)
    return _bytes(down.unflatten(2, (3, side)).transpose(1, 2).contiguous())


def resize_matrices(
    start: torch.Tensor, length: torch.Tensor, size: int, side: int, interpolation: Interpolation
) -> torch.Tensor:
    """Return the matrices that cut [start, start + length) out of `size` pixels and resize it.

    Args:
        start: First pixel of each crop, int64 (b), on the device of the result.
        length: Pixels of each crop, int64 (b).
        size: Pixels of the whole line.
        side: Pixels of the result.
        interpolation: Triangle filter, or Keys' cubic with a = -0.5, as antialiased resizes use.
    Returns:
        float32 (b, side, size); each row adds up to 1.
    """
    scale = (length.double() / side).view(-1, 1, 1)
    stretch = scale.clamp(min=1)
    centre = (torch.arange(side, device=start.device).view(1, -1, 1) + 0.5) * scale
    centre = centre + start.view(-1, 1, 1)
    pixel = torch.arange(size, device=start.device).view(1, 1, -1)
    x = ((pixel + 0.5 - centre) / stretch).abs()
    if interpolation == "bilinear":
        weights = (1 - x).clamp(min=0)
    else:
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    inside = (pixel >= start.view(-1, 1, 1)) & (pixel < (start + length).view(-1, 1, 1))
    weights = weights * inside
    return (weights / weights.sum(-1, keepdim=True)).float()


def mirrored(images: torch.Tensor, probability: float, draw: torch.Generator) -> torch.Tensor:
    """Mirror each image (b, 3, h, w) left to right with a probability."""
    chosen = torch.rand(len(images), generator=draw) < probability
    return torch.where(onto(chosen, images.device).view(-1, 1, 1, 1), images.flip(-1), images)


def rotated(images: torch.Tensor, degrees: float, draw: torch.Generator) -> torch.Tensor:
    """Turn each uint8 image (b, 3, h, w) about its centre by up to +-degrees, zeros outside."""
    angle = (torch.rand(len(images), generator=draw) * 2 - 1) * math.radians(degrees)
    height, width = images.shape[-2:]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # grid_sample's coordinates run from -1 to 1 on both sides, whatever the aspect ratio.
    rows = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1)
    grid = torch.nn.functional.affine_grid(
        onto(rows.view(-1, 2, 3), images.device), list(images.shape), align_corners=False
    )
    return _bytes(torch.nn.functional.grid_sample(images.float(), grid, align_corners=False))


def erased(pixels: torch.Tensor, probability: float, draw: torch.Generator) -> torch.Tensor:
    """Set a random box of each image to zero (the mean, after normalisation) with a probability.

    Boxes have 2 to 33 % of the area and a ratio of 0.3 to 3.3; where none of ten fits, the image
    stays whole.

    Source: Zhong et al., Random Erasing Data Augmentation, AAAI 2020.
    """
    b, _, height, width = pixels.shape
    chosen = torch.rand(b, generator=draw) < probability
    top, left, tall, wide = _boxes(
        b, height, width, (0.02, 0.33), (0.3, 3.3), draw, otherwise_none=True
    )
    y = torch.arange(height, device=pixels.device).view(1, -1, 1)
    x = torch.arange(width, device=pixels.device).view(1, 1, -1)
    top, left, tall, wide = (
        onto(value, pixels.device).view(-1, 1, 1) for value in (top, left, tall * chosen, wide)
    )
    box = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
    return pixels.masked_fill(box[:, None], 0.0)


def pasted(
    pixels: torch.Tensor, other: torch.Tensor, weight: float, draw: numpy.random.Generator
) -> tuple[torch.Tensor, float]:
    """Paste one box of `other` into all images, of share 1 - weight before it meets the border.

    Returns:
        Images (b, 3, h, w) and the share of `pixels` that is left.
    """
    height, width = pixels.shape[-2:]
    half = 0.5 * math.sqrt(1 - weight)
    x, y = int(draw.integers(width)), int(draw.integers(height))
    left, right = max(x - int(half * width), 0), min(x + int(half * width), width)
    top, bottom = max(y - int(half * height), 0), min(y + int(half * height), height)
    pixels = pixels.clone()
    pixels[..., top:bottom, left:right] = other[..., top:bottom, left:right]
    return pixels, 1 - (right - left) * (bottom - top) / (width * height)


def _boxes(
    b: int,
    height: int,
    width: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
    draw: torch.Generator,
    *,
    otherwise_none: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw ten boxes an image and keep the first that fits: top, left, height, width, int64 (b).

    Where none fits, it is the largest centred box of an allowed ratio, or one without pixels.
    """
    uniform = torch.rand(4, b, 10, generator=draw, dtype=torch.float64)
    pixels = (area[0] + (area[1] - area[0]) * uniform[0]) * height * width
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(low + (high - low) * uniform[1])
    wide = (pixels * shape).sqrt().round().long()
    tall = (pixels / shape).sqrt().round().long()
    fits = (wide > 0) & (tall > 0) & (wide <= width) & (tall <= height)
    first = fits.long().argmax(1, keepdim=True)
    wide, tall = wide.gather(1, first).squeeze(1), tall.gather(1, first).squeeze(1)
    top = (uniform[2].gather(1, first).squeeze(1) * (height - tall + 1)).long()
    left = (uniform[3].gather(1, first).squeeze(1) * (width - wide + 1)).long()
    found = fits.any(1)
    if otherwise_none:
        zero = torch.zeros_like(wide)
        return tuple(torch.where(found, value, zero) for value in (top, left, tall, wide))
    full_wide = min(width, round(height * ratio[1]))
    full_tall = min(height, round(width / ratio[0]))
    centred = ((height - full_tall) // 2, (width - full_wide) // 2, full_tall, full_wide)
    return tuple(
        torch.where(found, value, torch.full_like(value, other))
        for value, other in zip((top, left, tall, wide), centred, strict=True)
    )


def _bytes(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
