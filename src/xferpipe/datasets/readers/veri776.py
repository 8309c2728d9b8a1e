"""VeRi-776: 776 vehicles seen by 20 cameras; names such as `0002_c002_00030600_0.jpg`.

A name is identity, camera, time stamp and number. Queries are copies of gallery images.

Source: Liu et al., A Deep Learning-Based Approach to Progressive Vehicle Re-identification, 2016.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy
import polars

from xferpipe.config.datasets import Veri776
from xferpipe.datasets import reidentification
from xferpipe.datasets.checks import DatasetError, listed

_NAME = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)_\d+_\d+\.\w+")
_FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
#: Names in the order that positions are counted in, of queries and gallery; hits and junk.
_NAME_LISTS = ("name_query.txt", "name_test.txt")
_INDEX_LISTS = ("gt_index.txt", "jk_index.txt")
_PUBLISHED = reidentification.Published(
    {"train": (37_778, 576), "query": (1_678, 200), "gallery": (11_579, 200)}, cameras=20
)


def read(dataset: Veri776, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images; a query's identity and camera stand in its name."""
    example = "0002_c002_00030600_0.jpg"
    rows = reidentification.split_folders(root, _FOLDERS, _NAME, example)
    reidentification.check(rows, where=f"VeRi-776 in {root}", published=published(dataset))
    return rows


def published(dataset: Veri776) -> reidentification.Published | None:
    """Return the counts that the set should have; None for a generated one."""
    return None if dataset.generate else _PUBLISHED


def files(dataset: Veri776) -> list[str]:
    """List the images of the three folders, and those lists of names, hits and junk it has."""
    lists = [file for file in (*_NAME_LISTS, *_INDEX_LISTS) if (dataset.root / file).is_file()]
    return [*reidentification.images_of(dataset.root, _FOLDERS.values()), *lists]


def passed_over(dataset: Veri776, *, root: Path | None) -> list[str]:
    """List the files in the three folders whose names are not those of images."""
    return reidentification.passed_over(root, _FOLDERS.values())


def index_lists(
    root: Path | None, queries: list[str], gallery: list[str]
) -> tuple[list[numpy.ndarray], list[numpy.ndarray]]:
    """Read the official lists of hits and junk.

    Args:
        root: Folder of the data set, with `gt_index.txt` and `jk_index.txt`: one line a query,
            1-based positions in the gallery as `name_test.txt` lists it (sorted, without it).
        queries: Paths of the queries (q).
        gallery: Paths of the gallery (m).
    Returns:
        Hits and junk of each query: positions in `gallery`, int64 arrays, q of each.
    Raises:
        DatasetError: A list is missing, or speaks of other images than there are.
    """
    query_order = _order(root, _NAME_LISTS[0], "image_query")
    gallery_order = _order(root, _NAME_LISTS[1], "image_test")
    places = {PurePosixPath(path).name: place for place, path in enumerate(gallery)}
    lines = {name: line for line, name in enumerate(query_order)}
    if missing := [path for path in queries if PurePosixPath(path).name not in lines]:
        raise DatasetError(
            f"{root}/name_query.txt does not list {listed(missing)} ({len(missing)} queries); "
            "copy it again, or set retrieval.junk_rule: same_camera"
        )
    found = []
    for file in _INDEX_LISTS:
        rows = _index_rows(Path(root or ".") / file, len(query_order), len(gallery_order))
        found.append(
            [
                # A gallery cut by `maximum_images_per_class` lacks some of the listed images.
                numpy.array(
                    [
                        places[gallery_order[at - 1]]
                        for at in rows[lines[PurePosixPath(path).name]]
                        if gallery_order[at - 1] in places
                    ],
                    dtype=numpy.int64,
                )
                for path in queries
            ]
        )
    return found[0], found[1]


def _order(root: Path | None, file: str, part: str) -> list[str]:
    path = Path(root or ".") / file
    if path.is_file():
        return path.read_text().split()
    return reidentification.image_names(reidentification.folder(root, part))


def _index_rows(path: Path, queries: int, gallery: int) -> list[list[int]]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        raise DatasetError(
            f"{path}: missing file; retrieval.junk_rule: index_lists needs it, same_camera does not"
        ) from None
    try:
        rows = [[int(word) for word in line.split()] for line in lines]
    except ValueError as error:
        raise DatasetError(f"{path}: not a list of positions ({error}); copy it again") from None
    if len(rows) != queries:
        raise DatasetError(
            f"{path} has {len(rows)} lines, expected one for each of {queries} queries"
        )
    if strange := [at for row in rows for at in row if not 1 <= at <= gallery]:
        raise DatasetError(
            f"{path}: position {strange[0]} is outside 1 to {gallery}, the gallery's images"
        )
    return rows
