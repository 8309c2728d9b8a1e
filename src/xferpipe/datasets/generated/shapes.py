"""Outlined and filled shapes: a source that knows edges and corners."""

from __future__ import annotations

import numpy
from PIL import Image, ImageDraw

from xferpipe.datasets.generated.strokes import OVERSAMPLING, paint, placed, reduced


def _polygon(corners: int, start_degrees: float = -90) -> numpy.ndarray:
    angles = numpy.radians(start_degrees + 360 * numpy.arange(corners) / corners)
    return numpy.stack([numpy.cos(angles), numpy.sin(angles)], axis=1)


def _star(points: int, inner: float) -> numpy.ndarray:
    radius = numpy.where(numpy.arange(2 * points) % 2, inner, 1.0)
    return _polygon(2 * points) * radius[:, None]


def _points(*pairs: tuple[float, float]) -> numpy.ndarray:
    return numpy.array(pairs, dtype=float)


def _box(left: float, top: float, right: float, bottom: float) -> numpy.ndarray:
    return _points((left, top), (right, top), (right, bottom), (left, bottom))


_DISC, _TRIANGLE, _SQUARE = _polygon(48), _polygon(3), _box(-0.85, -0.85, 0.85, 0.85)
_THIRD = 0.33
_CROSS = _points(
    *((-_THIRD, -1), (_THIRD, -1), (_THIRD, -_THIRD), (1, -_THIRD), (1, _THIRD), (_THIRD, _THIRD)),
    *((_THIRD, 1), (-_THIRD, 1), (-_THIRD, _THIRD), (-1, _THIRD), (-1, -_THIRD)),
    (-_THIRD, -_THIRD),
)
_HEART = numpy.stack(
    [
        numpy.sin(t := numpy.linspace(0, 2 * numpy.pi, 48)) ** 3,
        -(13 * numpy.cos(t) - 5 * numpy.cos(2 * t) - 2 * numpy.cos(3 * t) - numpy.cos(4 * t)) / 16,
    ],
    axis=1,
)
_ARROW = _points(
    *((-1, -0.25), (0.1, -0.25), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.25), (-1, 0.25))
)
_CHEVRON = _points((-0.9, -0.2), (0, -1), (0.9, -0.2), (0.9, 0.6), (0, -0.2), (-0.9, 0.6))
_ZIGZAG = _points(
    *((-1, -0.5), (-0.4, 0.3), (0, -0.5), (0.5, 0.3), (1, -0.5), (1, 0.1), (0.5, 0.9)),
    *((0, 0.1), (-0.4, 0.9), (-1, 0.1)),
)

#: Parts of each shape in the square [-1, 1]: (outline, filled or cut out), first eight the easiest.
_SHAPES: dict[str, tuple[tuple[numpy.ndarray, bool], ...]] = {
    "disc": ((_DISC, True),),
    "triangle": ((_TRIANGLE, True),),
    "square": ((_SQUARE, True),),
    "cross": ((_CROSS, True),),
    "ring": ((_DISC, True), (_DISC * 0.55, False)),
    "star": ((_star(5, 0.4), True),),
    "bar": ((_box(-0.3, -1, 0.3, 1), True),),
    "crescent": ((_DISC, True), (_DISC * 0.85 + [0.5, 0], False)),
    "frame": ((_SQUARE, True), (_SQUARE * 0.55, False)),
    "corner": ((_box(-0.9, -0.9, -0.3, 0.9), True), (_box(-0.9, 0.3, 0.9, 0.9), True)),
    "tee": ((_box(-0.9, -0.9, 0.9, -0.35), True), (_box(-0.28, -0.9, 0.28, 0.95), True)),
    "arrow": ((_ARROW, True),),
    "chevron": ((_CHEVRON, True),),
    "rhombus": ((_polygon(4) * [0.6, 1], True),),
    "heart": ((_HEART, True),),
    "hourglass": ((_points((-0.8, -0.9), (0.8, -0.9), (-0.8, 0.9), (0.8, 0.9)), True),),
    "spark": ((_star(4, 0.3), True),),
    "sun": ((_star(8, 0.6), True),),
    "pentagon": ((_polygon(5), True),),
    "half_disc": ((_DISC, True), (_box(-1.1, 0, 1.1, 1.1), False)),
    "trapezium": ((_points((-0.45, -0.7), (0.45, -0.7), (1, 0.7), (-1, 0.7)), True),),
    "triangle_outline": ((_TRIANGLE, True), (_TRIANGLE * 0.45, False)),
    "two_discs": ((_DISC * 0.45 - [0.5, 0], True), (_DISC * 0.45 + [0.5, 0], True)),
    "two_bars": ((_box(-0.8, -0.9, -0.3, 0.9), True), (_box(0.3, -0.9, 0.8, 0.9), True)),
    "zigzag": ((_ZIGZAG, True),),
    "target": ((_DISC, True), (_DISC * 0.7, False), (_DISC * 0.38, True)),
}
CLASS_NAMES = tuple(_SHAPES)


def draw(label: int, px: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Draw one shape at a random place, size, turn, colour and noise: uint8 (px, px, 3)."""
    parts = _SHAPES[CLASS_NAMES[label]]
    side = px * OVERSAMPLING
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    points = placed(numpy.concatenate([outline for outline, _ in parts]), side, generator)
    start = 0
    for outline, filled in parts:
        part = points[start : start + len(outline)]
        pen.polygon([tuple(point) for point in part.tolist()], fill=255 if filled else 0)
        start += len(outline)
    return paint(reduced(canvas, px), generator)
