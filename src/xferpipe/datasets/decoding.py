"""Decoding of image files to squares of one size."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy
from PIL import Image, ImageFile

from xferpipe.datasets.checks import DatasetError

Fit = Literal["crop", "stretch"]


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def decode(path: Path, px: int, fit: Fit = "crop") -> numpy.ndarray:
    """Decode one file.

    Args:
        path: Image file of any format that PIL reads.
        px: Side of the result.
        fit: "crop" resizes the shorter side (bilinear, antialiased) and cuts the centre;
            "stretch" resizes both sides.
    Returns:
        uint8 (3, px, px).
    Raises:
        DatasetError: The file is missing, truncated or no image.
    """
    # Other libraries switch this on for the whole process; half a picture is an error here.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(path) as image:
            return fitted(image, px, fit)
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: missing file; restore it, or rebuild the manifest without it"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"{path}: cannot be decoded ({error}); copy it again, or remove it and rebuild the "
            "manifest"
        ) from None


def check_whole(paths: Sequence[Path]) -> None:
    """Find files that were cut short, from their first and last bytes.

    A file whose end is not the end of its format is decoded to be sure: cameras and editors append
    what they like to good pictures.

    Raises:
        DatasetError: A file is truncated or no image.
    """

    def check(path: Path) -> None:
        if not _ends_well(path):
            decode(path, 8)

    with ThreadPoolExecutor(processors()) as pool:
        for start in range(0, len(paths), 4096):
            list(pool.map(check, paths[start : start + 4096]))


def _ends_well(path: Path) -> bool:
    """Tell whether a file ends as its format does; False where that is not known."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 12))
            tail = file.read()
    except OSError:
        return False
    if head.startswith(b"\xff\xd8"):
        return tail.endswith(b"\xff\xd9")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return tail[4:8] == b"IEND"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return size >= 8 + int.from_bytes(head[4:8], "little")
    return False


def fitted(image: Image.Image, px: int, fit: Fit) -> numpy.ndarray:
    """Bring a PIL image to RGB and px pixels a side: uint8 (3, px, px)."""
    if image.mode.startswith("I;16"):
        # PIL clips 16-bit grey at 255 when it converts: nearly every pixel would turn white.
        image = Image.fromarray((numpy.asarray(image) >> 8).astype(numpy.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no known range, expected 8 or 16 bits")
    image = image.convert("RGB")
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


def decode_blocks(
    paths: Sequence[Path], px: int, fit: Fit, *, block: int = 256
) -> Iterator[numpy.ndarray]:
    """Decode files in order, in as many threads as there are processors (PIL lets go of the GIL).

    Yields:
        uint8 (b, 3, px, px) with b of at most `block`.
    """
    with ThreadPoolExecutor(processors()) as pool:
        for start in range(0, len(paths), block):
            part = paths[start : start + block]
            yield numpy.stack(list(pool.map(lambda path: decode(path, px, fit), part)))
