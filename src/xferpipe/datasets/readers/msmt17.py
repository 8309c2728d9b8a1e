"""MSMT17: 4,101 people seen by 15 cameras, in list files of lines "path identity".

`list_train.txt` and `list_val.txt` together are the training images, as the field trains on both;
validation holds identities out by itself. Paths count from `train` or `test` (version 2:
`mask_train_v2`, `mask_test_v2`); the third number of a name is the camera. Both pairs of lists
number their identities from 0 and mean others: those of the test lists get 1,000,000 added.

Source: Wei et al., Person Transfer GAN to Bridge Domain Gap, CVPR 2018.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import polars

from xferpipe.config.datasets import MSMT17
from xferpipe.datasets import reidentification
from xferpipe.datasets.checks import DatasetError, listed

_NAME = re.compile(r"\d+_\d+_(?P<camera>\d+)_\w+\.\w+")
#: List file, split, and the folders that its paths may count from.
_LISTS = (
    ("list_train.txt", "train", ("train", "mask_train_v2")),
    ("list_val.txt", "train", ("train", "mask_train_v2")),
    ("list_query.txt", "query", ("test", "mask_test_v2")),
    ("list_gallery.txt", "gallery", ("test", "mask_test_v2")),
)
_TEST_FROM = 1_000_000
_PUBLISHED = reidentification.Published(
    {"train": (32_621, 1_041), "query": (11_659, 3_060), "gallery": (82_161, 3_060)}, cameras=15
)


def read(dataset: MSMT17, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images of the four lists."""
    base = Path(root or ".")
    parts = [_listed_images(base, file, split, folders) for file, split, folders in _LISTS]
    rows = reidentification.with_labels(polars.concat(parts))
    reidentification.check(rows, where=f"MSMT17 in {root}", published=_PUBLISHED)
    return rows


def published(dataset: MSMT17) -> reidentification.Published:
    """Return the counts that the set should have."""
    return _PUBLISHED


def files(dataset: MSMT17) -> list[str]:
    """List the four lists and the images in them."""
    found = []
    for file, split, folders in _LISTS:
        found += [file, *_listed_images(dataset.root, file, split, folders)["path"]]
    return found


def _listed_images(root: Path, file: str, split: str, folders: tuple[str, ...]) -> polars.DataFrame:
    path = root / file
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; copy the data set again") from None
    folder = next((name for name in folders if (root / name).is_dir()), None)
    if folder is None:
        raise DatasetError(f"{root}: no folder {' or '.join(folders)}; copy the data set again")
    entries = [line.rsplit(maxsplit=1) for line in lines]
    matches = [
        _NAME.fullmatch(PurePosixPath(entry[0]).name)
        if len(entry) == 2 and entry[1].isdigit()
        else None
        for entry in entries
    ]
    if bad := [line for line, match in zip(lines, matches, strict=True) if match is None]:
        raise DatasetError(
            f"{path}: {len(bad)} of {len(lines)} lines cannot be read: {listed(bad)}; expected the "
            "form of '0000/0000_000_01_0303morning_0015_0.jpg 0' (path, identity)"
        )
    first = 0 if split == "train" else _TEST_FROM
    schema = {
        "path": polars.String,
        "identity": polars.Int64,
        "camera": polars.Int64,
        "split": polars.String,
    }
    return polars.DataFrame(
        [
            (f"{folder}/{entry[0]}", int(entry[1]) + first, int(match["camera"]), split)
            for entry, match in zip(entries, matches, strict=True)
        ],
        schema=schema,
        orient="row",
    )
