"""A folder an identity, or names that a pattern of one's own reads; with or without splits.

Without `pattern` the first folder below the root (or below a split's folder) is the identity, and
no camera is known. A pattern is matched with the whole path below that folder.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import polars

from xferpipe.config.datasets import DrawGallery, IdentityFolder
from xferpipe.datasets import reidentification
from xferpipe.datasets.checks import DatasetError, listed
from xferpipe.datasets.gallery_draws import with_gallery
from xferpipe.datasets.two_sides import alike
from xferpipe.datasets.walk import IMAGE_ENDINGS, files_below, is_image

_FOLDER_OF_IDENTITY = r"(?P<identity>[^/]+)/.*"
_GROUPS = ("identity", "camera", "sequence")


def read(dataset: IdentityFolder, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images by the folders of `folders`, or draw the splits where there are none."""
    base, where = Path(root or "."), f"identity folder {root}"
    rows = listing(dataset, base)
    draw = dataset.draw_gallery
    if draw is None and not dataset.folders:
        draw = DrawGallery()
    named = rows.with_columns(class_name="identity")
    rows = named.with_columns(_numbered(named[name]) for name in _GROUPS)
    if draw is not None:
        rows = with_gallery(rows, draw, dataset.test_fraction, where=where)
    rows = reidentification.with_labels(rows)
    reidentification.check(rows, where=where)
    return rows


def listing(dataset: IdentityFolder, root: Path) -> polars.DataFrame:
    """Read identity, camera and sequence of every image, as texts.

    Args:
        dataset: Its pattern, and the folder of each split.
        root: Folder of the data set.
    Returns:
        Columns path, identity, camera, sequence and split (null where there are no folders),
        sorted by path.
    Raises:
        DatasetError: A folder is missing or has no images, or a name cannot be read.
    """
    pattern = re.compile(dataset.pattern or _FOLDER_OF_IDENTITY)
    rows = []
    for split, folder in (dataset.folders or {None: "."}).items():
        paths = _images(reidentification.folder(root, folder))
        found = [pattern.fullmatch(path) for path in paths]
        if bad := [path for path, match in zip(paths, found, strict=True) if match is None]:
            expected = "a folder an identity" if dataset.pattern is None else pattern.pattern
            raise DatasetError(
                f"{root / folder}: {len(bad)} of {len(paths)} names cannot be read: {listed(bad)}; "
                f"expected {expected}; correct 'pattern', or rename or remove these files"
            )
        for path, match in zip(paths, found, strict=True):
            read = match.groupdict()
            below = str(PurePosixPath(folder, path))
            rows.append((below, *(read.get(group) for group in _GROUPS), split))
    names = ("path", *_GROUPS, "split")
    schema = dict.fromkeys(names, polars.String)
    return polars.DataFrame(rows, schema=schema, orient="row").sort("path")


def files(dataset: IdentityFolder) -> list[str]:
    """List the images of all folders."""
    folders = (dataset.folders or {None: "."}).values()
    return [
        str(PurePosixPath(folder, path))
        for folder in folders
        for path in _images(reidentification.folder(dataset.root, folder))
    ]


def _images(folder: Path) -> list[str]:
    paths = [path for path in files_below(folder) if is_image(path)]
    if not paths:
        suffixes = ", ".join(IMAGE_ENDINGS)
        raise DatasetError(f"{folder}: no images ({suffixes}); put them there, or correct 'root'")
    return sorted(paths)


def _numbered(values: polars.Series) -> polars.Series:
    """Return the numbers that names are, else their places in the order of their letters."""
    read = alike(values, values).query
    if read.dtype == polars.Int64:
        return read
    return read.rank("dense").cast(polars.Int64).alias(values.name)
