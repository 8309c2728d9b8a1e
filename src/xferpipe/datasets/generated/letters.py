"""Capital letters in PIL's built-in font: a source near to handwritten digits."""

from __future__ import annotations

import string
from functools import cache

import numpy
from PIL import Image, ImageDraw, ImageFont

from xferpipe.datasets.generated.strokes import OVERSAMPLING, paint, reduced

CLASS_NAMES = tuple(string.ascii_uppercase)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that comes with PIL, the same on every machine."""
    return ImageFont.load_default(size=size)


def draw(label: int, px: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Draw one letter at a random place, size, weight, turn, slant, colour and noise."""
    side = px * OVERSAMPLING
    font = _font(round(side * generator.uniform(0.65, 0.95)))
    stroke = int(generator.integers(0, max(2, side // 20)))
    canvas = Image.new("L", (side, side))
    shift = side * (0.5 + generator.uniform(-0.09, 0.09, 2))
    ImageDraw.Draw(canvas).text(
        tuple(shift), CLASS_NAMES[label], fill=255, font=font, anchor="mm", stroke_width=stroke
    )
    slant, turn = generator.uniform(-0.2, 0.2), generator.uniform(-15, 15)
    sheared = canvas.transform(
        canvas.size,
        Image.Transform.AFFINE,
        (1, slant, -slant * side / 2, 0, 1, 0),
        Image.Resampling.BILINEAR,
    )
    return paint(reduced(sheared.rotate(turn, Image.Resampling.BILINEAR), px), generator)
