"""The files below a folder, in one way for readers and fingerprints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from xferpipe.datasets.checks import DatasetError


def files_below(root: Path | str) -> Iterator[str]:
    """Yield the files below a folder, relative to it with slashes, in any order.

    Names that begin with a dot are left out. Links are followed, not in circles.

    Raises:
        DatasetError: There is no such folder, or one below it cannot be listed.
    """
    if not Path(root).is_dir():
        raise DatasetError(f"{root}: no such folder; put the data set there, or correct 'root'")
    yield from _walk(str(root), "", frozenset())


def _walk(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        state = os.stat(folder)
        items = list(os.scandir(folder))
    except OSError as error:
        raise DatasetError(
            f"{folder}: {error.strerror}; make the folder readable, or move it away"
        ) from None
    place = (state.st_dev, state.st_ino)
    if place in above:
        return
    for item in items:
        if item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _walk(item.path, f"{prefix}{item.name}/", above | {place})
        else:
            yield prefix + item.name
