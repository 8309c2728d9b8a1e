"""From an opened image of any mode to eight bits of red, green and blue, and to a square."""

from __future__ import annotations

from typing import Literal

import numpy
from PIL import ExifTags, Image

from xferpipe.config.decoding import USUAL, Decoding

Fit = Literal["crop", "stretch"]

#: What makes an image upright, by its EXIF tag; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def fitted(image: Image.Image, px: int, fit: Fit, how: Decoding = USUAL) -> numpy.ndarray:
    """Bring a PIL image to RGB and px pixels a side.

    Args:
        image: An opened image; it is loaded.
        px: Side of the result.
        fit: "crop" resizes the shorter side (bilinear, antialiased) and cuts the centre;
            "stretch" resizes both sides.
        how: What becomes of deep grey, transparency and orientation.
    Returns:
        uint8 (3, px, px).
    Raises:
        ValueError: The image has no pixel, or no number in any.
    """
    image = in_colour(image, how)
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    else:
        box = (0, 0, width, height)
    if image.size != (px, px):
        image = image.resize((px, px), Image.Resampling.BILINEAR, box=box)
    return numpy.ascontiguousarray(numpy.asarray(image).transpose(2, 0, 1))


def in_colour(image: Image.Image, how: Decoding = USUAL) -> Image.Image:
    """Return an image in mode RGB, upright, opaque and in eight bits.

    Raises:
        ValueError: The image has no pixel, or no number in any.
    """
    if min(image.size) < 1:
        raise ValueError(f"{image.width} x {image.height} pixels, expected at least 1 x 1")
    image.load()
    # PIL itself turns TIFF files as it loads them, and takes their tag away.
    turn = _UPRIGHT.get(orientation(image)) if how.orientation == "apply" else None
    if is_deep(image):
        image = Image.fromarray(in_window(numpy.asarray(image), how))
    elif image.has_transparency_data:
        # Not `convert("RGB")`, which drops alpha: the colour below it is whatever a program left.
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, how.background)
        image.paste(layer, mask=layer.getchannel("A"))
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image is grey of more than eight bits: PIL clips these at 255."""
    return image.mode.startswith("I") or image.mode == "F"


def orientation(image: Image.Image) -> int:
    """Return an image's EXIF orientation, 1 to 8; 1 where it has none, or one that is no such."""
    try:
        tag = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Damaged tags raise whatever the parser stumbles over; the pixels may be sound.
        return 1
    return tag if isinstance(tag, int) and tag in _UPRIGHT else 1


def in_window(values: numpy.ndarray, how: Decoding) -> numpy.ndarray:
    """Bring grey values of any range to eight bits.

    Args:
        values: Integers or floats (h, w). NaN becomes black, infinities the ends.
        how: `window` and `percentiles`.
    Returns:
        uint8 (h, w): 0 at the lower end of the window and below, 255 at the upper end and above.
        A file of one value has no window of its own and becomes black.
    Raises:
        ValueError: No value is a finite number.
    """
    low, high = _window(values, how)
    if not low < high:
        return numpy.zeros(values.shape, dtype=numpy.uint8)
    with numpy.errstate(invalid="ignore"):  # NaN and infinities are answered below.
        # float64: the ends of int32 or float32 may be further apart than these can tell.
        scaled = values.astype(numpy.float64)
        scaled -= low
        scaled *= 255 / (high - low)
    numpy.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    return numpy.rint(scaled.clip(0, 255, out=scaled), out=scaled).astype(numpy.uint8)


def _window(values: numpy.ndarray, how: Decoding) -> tuple[float, float]:
    if how.window == "full":
        return 0.0, 1.0 if values.dtype.kind == "f" else 65535.0
    if not isinstance(how.window, str):
        return how.window
    finite = values[numpy.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        raise ValueError("none of its values is a finite number")
    if how.window == "percentiles":
        low, high = numpy.percentile(finite, how.percentiles)
        if low < high:
            return float(low), float(high)
    # Also where nearly all pixels are alike, as marks on an empty field: the rest is all there is.
    return float(finite.min()), float(finite.max())
