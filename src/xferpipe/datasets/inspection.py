"""One look at every image file of a data set: which cannot be decoded, and what is odd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars
from PIL import Image

from xferpipe.config.decoding import Decoding
from xferpipe.datasets.decoding import decode, ends_well, opened, processors
from xferpipe.datasets.pixels import is_deep, orientation
from xferpipe.datasets.unreadable import UnreadableImage
from xferpipe.records import frame

#: What a row of table `image_findings` says of a file.
UNREADABLE, PASSED_OVER, READ_AS = "unreadable", "passed_over", "read_as"
ORIENTATION, DEEP_GREY, TRANSPARENCY = "orientation", "deep_grey", "transparency"
_BLOCK = 64


@dataclass(frozen=True)
class Inspection:
    """What was seen of the image files of a data set.

    Attributes:
        rows: Table `image_findings`: a row for each file and kind.
        problems: Files that cannot be decoded, in the order of the data set.
    """

    rows: polars.DataFrame
    problems: list[UnreadableImage]


def inspect(
    names: Sequence[str],
    root: Path,
    how: Decoding,
    *,
    whole: bool,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Inspection:
    """Look at image files, all of them, whatever is wrong with some.

    Args:
        names: Files below `root`.
        root: Folder.
        how: What the files are read as.
        whole: Decode every file. Else its head is read, and it is decoded where its end is not
            that of its format: truncated and foreign files are found, damaged pixels are not.
        progress: Called with what is done, files done and in all.
    """

    def some(part: Sequence[str]) -> list[list[tuple[str, str]] | UnreadableImage]:
        return [_seen(root / name, how, whole=whole) for name in part]

    found: list[dict[str, str]] = []
    problems: list[UnreadableImage] = []
    parts = [names[start : start + _BLOCK] for start in range(0, len(names), _BLOCK)]
    # More threads than processors: network folders answer many questions at once.
    with ThreadPoolExecutor(processors() if whole else max(8, processors())) as pool:
        for number, (part, seen) in enumerate(zip(parts, pool.map(some, parts), strict=True)):
            progress("looking at every image", number * _BLOCK, len(names))
            for name, one in zip(part, seen, strict=True):
                if isinstance(one, UnreadableImage):
                    problems.append(one)
                    one = [(UNREADABLE, one.reason)]
                found += [{"kind": kind, "path": name, "detail": detail} for kind, detail in one]
    return Inspection(frame("image_findings", found), problems)


def passed_over(names: Sequence[str]) -> polars.DataFrame:
    """Return rows of table `image_findings` for files among images that are not read."""
    # Names may be no text, as those of another system's archives.
    texts = [name.encode(errors="replace").decode() for name in names]
    rows = [
        {"kind": PASSED_OVER, "path": text, "detail": Path(text).suffix.lower() or "no extension"}
        for text in texts
    ]
    return frame("image_findings", rows)


def read_as(notes: Sequence[tuple[str, str]]) -> polars.DataFrame:
    """Return rows of table `image_findings` for labels of a table that are read as others.

    Args:
        notes: Name of the table and a sentence, each.
    """
    rows = [{"kind": READ_AS, "path": name, "detail": detail} for name, detail in notes]
    return frame("image_findings", rows)


def _seen(path: Path, how: Decoding, *, whole: bool) -> list[tuple[str, str]] | UnreadableImage:
    try:
        with opened(path, how) as image:
            found = list(_oddities(image))
        if whole or not ends_well(path):
            decode(path, 8, "crop", how)
    except UnreadableImage as problem:
        return problem
    return found


def _oddities(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Say what the head of a file tells, without decoding it."""
    # PIL looks for a PNG's tags behind its pixels too, which would decode it.
    if (image.format != "PNG" or "exif" in image.info) and (tag := orientation(image)) != 1:
        yield ORIENTATION, str(tag)
    if is_deep(image):
        yield DEEP_GREY, image.mode
    elif image.has_transparency_data:
        yield TRANSPARENCY, image.mode
