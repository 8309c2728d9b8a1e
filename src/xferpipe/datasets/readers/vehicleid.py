"""VehicleID: vehicles listed in text files; one random gallery image of each, several times over.

`train_test_split/train_list.txt` and `test_list_<N>.txt` have lines "image identity", and the image
is `image/<image>.jpg`. There are no cameras, so nothing is junk. An identity with one test image is
in every gallery and asks no query.

Source: Liu et al., Deep Relative Distance Learning, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import polars

from xferpipe.config.datasets import VehicleID
from xferpipe.datasets import reidentification
from xferpipe.datasets.checks import DatasetError, listed
from xferpipe.seeding import numpy_generator

#: Images and identities of the lists as they are distributed, by fast-reid's vehicleid.py. Papers
#: also print 110,178 images of 13,134 identities (recalled, not found again).
_TRAIN = (113_346, 13_164)
#: List -> images, from the same; the identities are the list's number.
_TEST_IMAGES = {800: 6_493, 1600: 13_377, 2400: 19_777}


def read(dataset: VehicleID, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images; the split between query and gallery is the first random draw."""
    lists = reidentification.folder(root, "train_test_split")
    train = _listed_images(lists / "train_list.txt")
    test = _listed_images(_test_list(lists, dataset.test_list)).sort("path")
    gallery = next(_draws(test["identity"].to_numpy(), 1, seed))
    rows = polars.concat(
        [
            train.with_columns(split=polars.lit("train")),
            test.with_columns(split=polars.Series(numpy.where(gallery, "gallery", "query"))),
        ]
    )
    rows = reidentification.with_labels(rows.with_columns(camera=polars.lit(None, polars.Int64)))
    reidentification.check(rows, where=f"VehicleID in {root}", published=published(dataset))
    return rows


def published(dataset: VehicleID) -> reidentification.Published | None:
    """Return the counts that the set should have; None for a generated one, or an own list."""
    size = dataset.test_list
    if dataset.generate or size not in _TEST_IMAGES:
        return None
    return reidentification.Published(
        {
            "train": _TRAIN,
            "gallery": (size, size),
            "query": (_TEST_IMAGES[size] - size, size),
        }
    )


def files(dataset: VehicleID) -> list[str]:
    """List the two lists that count and the images in them."""
    lists = reidentification.folder(dataset.root, "train_test_split")
    found = []
    for path in (lists / "train_list.txt", _test_list(lists, dataset.test_list)):
        found += [f"train_test_split/{path.name}", *_listed_images(path)["path"]]
    return found


def galleries(
    dataset: VehicleID, manifest: polars.DataFrame, *, seed: int
) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
    """Draw the galleries that results are averaged over.

    Args:
        dataset: The data set; `galleries` says how many.
        manifest: Table `manifest`.
        seed: The seed that the manifest was made with: the first draw is the manifest's own.
    Yields:
        Rows of the queries and rows of the gallery, int64, ascending.
    """
    test = manifest.filter(polars.col("split").is_in(["query", "gallery"])).sort("path")
    rows = test["row"].to_numpy()
    for gallery in _draws(test["identity"].to_numpy(), dataset.galleries, seed):
        yield numpy.sort(rows[~gallery]), numpy.sort(rows[gallery])


def _draws(identity: numpy.ndarray, count: int, seed: int) -> Iterator[numpy.ndarray]:
    """Mark one image of each identity, `count` times; images come in the order of their paths."""
    _, inverse, sizes = numpy.unique(identity, return_inverse=True, return_counts=True)
    by_identity = numpy.argsort(inverse, kind="stable")
    first = numpy.cumsum(sizes) - sizes
    for draw in range(count):
        random = numpy_generator(seed, "vehicleid", "gallery", draw).random(len(sizes))
        mask = numpy.zeros(len(identity), dtype=bool)
        mask[by_identity[first + (random * sizes).astype(numpy.int64)]] = True
        yield mask


def _listed_images(path: Path) -> polars.DataFrame:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; copy the data set again") from None
    entries = [line.split() for line in lines if line.strip()]
    bad = [
        " ".join(entry)
        for entry in entries
        if len(entry) != 2 or not entry[1].lstrip("-").isdigit()
    ]
    if bad:
        raise DatasetError(
            f"{path}: {len(bad)} lines cannot be read: {listed(bad)}; expected the form of "
            "'0000123 456' (image, identity)"
        )
    return polars.DataFrame(
        {
            "path": [f"image/{name}.jpg" for name, _ in entries],
            "identity": [int(identity) for _, identity in entries],
        },
        schema={"path": polars.String, "identity": polars.Int64},
    )


def _test_list(lists: Path, size: int) -> Path:
    path = lists / f"test_list_{size}.txt"
    if not path.is_file():
        known = sorted(item.name for item in lists.glob("test_list_*.txt"))
        raise DatasetError(
            f"{path}: no such list (there: {listed(known) or 'none'}); set 'test_list' to the "
            "number in one of these names"
        )
    return path
