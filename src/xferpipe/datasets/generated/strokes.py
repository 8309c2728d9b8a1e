"""What the renderers share: colours that can be told apart, placement, sensor noise."""

from __future__ import annotations

import math

import numpy
from PIL import Image

#: Masks are drawn this many times larger and averaged down: smooth edges at any rotation.
OVERSAMPLING = 4


def colours(generator: numpy.random.Generator) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Draw foreground and background, float (3) in 0..255, of clearly unlike brightness."""
    brightness = numpy.array([0.299, 0.587, 0.114])
    while True:
        front, back = generator.uniform(0, 255, (2, 3))
        if abs((front - back) @ brightness) > 70:
            return front, back


def paint(mask: numpy.ndarray, generator: numpy.random.Generator) -> numpy.ndarray:
    """Colour a mask and add lighting and noise.

    Args:
        mask: Share of the foreground, float (px, px) in 0..1.
        generator: Source of colours, lighting and noise.
    Returns:
        uint8 (px, px, 3).
    """
    px = len(mask)
    front, back = colours(generator)
    image = back + mask[..., None] * (front - back)
    slope = generator.uniform(-0.25, 0.25, 2)
    y, x = numpy.mgrid[0:px, 0:px] / px - 0.5
    image *= (1 + slope[0] * x + slope[1] * y)[..., None]
    image += generator.normal(0, generator.uniform(2, 14), image.shape)
    return numpy.clip(numpy.rint(image), 0, 255).astype(numpy.uint8)


def placed(
    points: numpy.ndarray, px: int, generator: numpy.random.Generator, *, degrees: float = 20
) -> numpy.ndarray:
    """Scale, stretch, turn and shift points of the square [-1, 1] onto a canvas of px pixels."""
    turn = math.radians(generator.uniform(-degrees, degrees))
    scale = generator.uniform(0.27, 0.44, 1) * generator.uniform(0.88, 1.12, 2)
    rotation = numpy.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shift = 0.5 + generator.uniform(-1, 1, 2) * (0.48 - scale.max())
    return ((points * scale) @ rotation.T + shift) * px


def reduced(image: Image.Image, px: int) -> numpy.ndarray:
    """Average an oversampled mask (mode L) down to px pixels, float in 0..1."""
    return numpy.asarray(image.reduce(OVERSAMPLING), dtype=numpy.float64)[:px, :px] / 255
