"""Decoding of image files to squares of one size."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from PIL import Image, ImageFile, UnidentifiedImageError

from xferpipe.config.decoding import USUAL, Decoding
from xferpipe.datasets.pixels import Fit, fitted
from xferpipe.datasets.unreadable import MISSING, UnreadableImage, UnreadableImages

#: Formats that PIL decodes itself from one file that states its size. Not those that start another
#: program (EPS), only name what they hold (HDF5, GRIB), or hold files of any size within (ICO).
_FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "FITS", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX"),
    *("PNG", "PPM", "PSD", "QOI", "SGI", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM"),
)
#: What HEIC and HEIF files have at their fifth byte.
_HEIF = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1"))
#: Beginnings of files that lie where images belong, and what they are.
_NO_IMAGES = {
    b"version https://git-lfs": "a Git LFS pointer; git lfs pull brings the file",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "XML",
    b"<svg": "SVG, which has no pixels",
    b"%pdf": "PDF",
    b"%!ps": "PostScript",
}

# Of damaged tags and unknown chunks; what cannot be decoded is an error with words of its own.
warnings.filterwarnings("ignore", module=r"PIL\.")


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def decode(path: Path, px: int, fit: Fit = "crop", how: Decoding = USUAL) -> numpy.ndarray:
    """Decode one file; of several frames or pages the first.

    Args:
        path: Image file.
        px: Side of the result.
        fit: As `fitted` takes it.
        how: What the file is read as.
    Returns:
        uint8 (3, px, px).
    Raises:
        UnreadableImage: The file is missing, truncated, no image, or too large.
    """
    with opened(path, how) as image:
        return fitted(image, px, fit, how)


@contextlib.contextmanager
def opened(path: Path, how: Decoding = USUAL) -> Iterator[Image.Image]:
    """Open an image file; its pixels are not decoded yet.

    Args:
        path: Image file.
        how: `maximum_megapixels`.
    Raises:
        UnreadableImage: The file is missing, no image, or too large; or the block cannot read it.
    """
    # Other libraries switch this on for the whole process; half a picture is an error here.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    most = int(how.maximum_megapixels * 1e6)
    # PIL's own limit stays, for what a header does not tell; it may not lie below this one.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, most)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableImage(path, "no regular file")
        with Image.open(path, formats=_formats()) as image:
            if image.width * image.height > most:
                raise UnreadableImage(path, _too_large(image.size, how))
            yield image
    except UnreadableImage:
        raise
    except Exception as error:
        # PIL's plugins answer damaged files with nearly any error: KeyError, struct.error ...
        raise UnreadableImage(path, _reason(path, error, how)) from None


def _too_large(size: tuple[int, int], how: Decoding) -> str:
    return (
        f"{size[0]} x {size[1]} pixels, and decoding.maximum_megapixels allows "
        f"{how.maximum_megapixels:g} million"
    )


def _reason(path: Path, error: Exception, how: Decoding) -> str:
    """Say in words why a file cannot be decoded."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more pixels than decoding.maximum_megapixels, {how.maximum_megapixels:g}, allows"
    if isinstance(error, MemoryError):
        return "not enough memory for its pixels"
    if isinstance(error, OSError) and error.errno is not None:
        return error.strerror or "it cannot be read"
    if isinstance(error, UnidentifiedImageError):
        return _what_it_is(path)
    words = " ".join(str(error).replace(str(path), "it").split())[:120]
    return words or type(error).__name__


def _what_it_is(path: Path) -> str:
    """Say what a file is that PIL does not know."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(32)
        if not head:
            return "it has no bytes"
        if head[4:12].startswith(_HEIF):
            return "HEIC; pip install pillow-heif, or save it as JPEG"
        if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis") and "AVIF" not in _formats():
            return "AVIF; pip install 'pillow>=11.3', or save it as JPEG"
        plain = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
        for start, words in _NO_IMAGES.items():
            if plain.startswith(start):
                return words
    return "no image of a known format"


@functools.cache
def _formats() -> tuple[str, ...]:
    """Name the formats that can be read here."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def ends_well(path: Path) -> bool:
    """Tell whether a file ends as its format does; False where that is not known.

    Cameras and editors append what they like to good pictures.
    """
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


def decode_blocks(
    paths: Sequence[Path], px: int, fit: Fit, how: Decoding = USUAL, *, block: int = 256
) -> Iterator[numpy.ndarray]:
    """Decode files in order, in as many threads as there are processors (PIL lets go of the GIL).

    Yields:
        uint8 (b, 3, px, px) with b of at most `block`.
    Raises:
        UnreadableImages: Some cannot be decoded; raised after all were tried.
    """

    def one(path: Path) -> numpy.ndarray | UnreadableImage:
        try:
            return decode(path, px, fit, how)
        except UnreadableImage as problem:
            return problem

    problems: list[UnreadableImage] = []
    with ThreadPoolExecutor(processors()) as pool:
        for start in range(0, len(paths), block):
            found = list(pool.map(one, paths[start : start + block]))
            problems += [one for one in found if isinstance(one, UnreadableImage)]
            if not problems:
                yield numpy.stack(found)
    if problems:
        raise UnreadableImages(problems, of=len(paths))
