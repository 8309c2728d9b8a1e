"""The files below a folder, in one way for readers and fingerprints, and which of them count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from xferpipe.datasets.checks import DatasetError

#: Name extensions of image files, in lower case. HEIC needs a package; others are told as faults
#: where the installed PIL does not know them, so that the same files count everywhere.
IMAGE_ENDINGS = (
    *(".apng", ".avif", ".avifs", ".bmp", ".dds", ".dib", ".fit", ".fits", ".gif", ".heic"),
    *(".heif", ".hif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg"),
    *(".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi"),
    *(".ras", ".sgi", ".tga", ".tif", ".tiff", ".webp", ".xbm", ".xpm"),
)
#: Folders that systems leave among files, in lower case: archives' and previews' own.
_OF_SYSTEMS = {
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "__pycache__"),
    "system volume information",
}
#: Files likewise.
_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini", "ehthumbs.db", "picasa.ini"}


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is none of a person's: `.git`, `._1.jpg`, `__MACOSX`."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS | _LEFT_BY_SYSTEMS


def is_image(name: str) -> bool:
    """Tell whether a file name is that of an image."""
    name = name.rpartition("/")[2]
    return not is_hidden(name) and name.lower().endswith(IMAGE_ENDINGS)


def files_below(root: Path | str) -> Iterator[str]:
    """Yield the files below a folder, relative to it with slashes, in any order.

    Hidden names and those of systems are left out. Links to folders are followed, and every folder
    is read once: under its own name before that of a link, and never within itself.

    Raises:
        DatasetError: There is no such folder, or one below it cannot be listed.
    """
    if not Path(root).is_dir():
        raise DatasetError(f"{root}: no such folder; put the data set there, or correct 'root'")
    seen = {_place(parent) for parent in Path(root).resolve().parents}
    waiting = [(str(root), "")]
    while waiting:
        links: list[tuple[str, str]] = []
        for folder, prefix in waiting:
            yield from _own_files(folder, prefix, seen, links)
        waiting = sorted(links)


def _own_files(
    folder: str, prefix: str, seen: set[tuple[int, int]], links: list[tuple[str, str]]
) -> Iterator[str]:
    """Yield the files below a folder; links to folders are noted."""
    try:
        place = _place(folder)
        items = [] if place in seen else list(os.scandir(folder))
    except OSError as error:
        raise DatasetError(
            f"{folder}: {error.strerror}; make the folder readable, or move it away"
        ) from None
    seen.add(place)
    for item in items:
        if is_hidden(item.name):
            continue
        if not _is_folder(item):
            yield prefix + item.name
        elif item.is_symlink():
            links.append((item.path, f"{prefix}{item.name}/"))
        else:
            yield from _own_files(item.path, f"{prefix}{item.name}/", seen, links)


def _is_folder(item: os.DirEntry) -> bool:
    try:
        return item.is_dir()
    except OSError:
        return False  # A link to itself.


def _place(folder: Path | str) -> tuple[int, int]:
    state = os.stat(folder)
    return state.st_dev, state.st_ino
