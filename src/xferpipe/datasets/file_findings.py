"""What is odd about a data set's files, in sentences: left out, turned, deep, transparent."""

from __future__ import annotations

import polars

from xferpipe.config.datasets import Dataset
from xferpipe.config.decoding import Decoding
from xferpipe.datasets.checks import listed
from xferpipe.datasets.inspection import (
    DEEP_GREY,
    ORIENTATION,
    PASSED_OVER,
    READ_AS,
    TRANSPARENCY,
    UNREADABLE,
)


def file_findings(files: polars.DataFrame, dataset: Dataset) -> list[str]:
    """Say what table `image_findings` holds: each sentence has the count, names, and what to do.

    Args:
        files: Table `image_findings` of the data set.
        dataset: Its block.
    """
    how = dataset.read_as
    texts = []
    for kind, words in (
        (UNREADABLE, _left_out),
        (PASSED_OVER, _passed_over),
        (READ_AS, _read_as),
        (ORIENTATION, _turned),
        (DEEP_GREY, _deep),
        (TRANSPARENCY, _transparent),
    ):
        rows = files.filter(kind=kind)
        if not rows.is_empty():
            texts.append(words(rows, how))
    return texts


def _images(rows: polars.DataFrame, one: str, many: str) -> str:
    """Begin a sentence about some images: count, verb, and the first names."""
    if rows.height == 1:
        return f"1 image {one}"
    return f"{rows.height:,} images {many}"


def _named(rows: polars.DataFrame) -> str:
    return listed(rows["path"])


def _left_out(rows: polars.DataFrame, how: Decoding) -> str:
    named = listed(f"{path} ({why})" for path, why in rows.select("path", "detail").iter_rows())
    they = "it" if rows.height == 1 else "they"
    return f"{_images(rows, 'is', 'are')} left out, as {they} cannot be decoded: {named}"


def _passed_over(rows: polars.DataFrame, how: Decoding) -> str:
    counts = rows.group_by("detail").len().sort("len", "detail", descending=[True, False])
    kinds = listed(f"{ending} ({count})" for ending, count in counts.iter_rows())
    files = "1 file is" if rows.height == 1 else f"{rows.height:,} files are"
    return (
        f"{files} among the images and not read, as their names are not those of images: {kinds}; "
        f"convert what is an image: {_named(rows)}"
    )


def _read_as(rows: polars.DataFrame, how: Decoding) -> str:
    return "; ".join(f"{path}: {note}" for path, note in rows.select("path", "detail").iter_rows())


def _turned(rows: polars.DataFrame, how: Decoding) -> str:
    if how.orientation == "apply":
        start = _images(rows, "is turned as its EXIF tag says", "are turned as their EXIF tags say")
        return f"{start}: {_named(rows)}"
    start = _images(rows, "has an EXIF tag", "have EXIF tags")
    return (
        f"{start} by which viewers turn them: {_named(rows)}; they are read as they are stored: "
        "set decoding.orientation: apply to turn them"
    )


def _deep(rows: polars.DataFrame, how: Decoding) -> str:
    start = _images(rows, "is grey", "are grey") + f" of more than 8 bits: {_named(rows)}"
    if how.window == "full":
        return f"{start}; read over the whole range of their type"
    if not isinstance(how.window, str):
        return f"{start}; read from {how.window[0]:g} to {how.window[1]:g}"
    ends = "least to largest value"
    if how.window == "percentiles":
        ends = "percentile {:g} to {:g}".format(*how.percentiles)
    return (
        f"{start}; each is stretched from its {ends}: where brightness itself tells classes apart, "
        "set decoding.window to two values, as [0, 4095]"
    )


def _transparent(rows: polars.DataFrame, how: Decoding) -> str:
    return (
        f"{_images(rows, 'has', 'have')} transparency: {_named(rows)}; laid on {how.background} "
        "(decoding.background)"
    )
