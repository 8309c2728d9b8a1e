"""CUHK03 by the new protocol: 767 people train, 700 test; names such as `0001_c1_11.png`.

A name is identity, camera of the pair, and number. `detected` and `labeled` hold the same people in
boxes of a detector and of people.

Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars

from xferpipe.config.datasets import Cuhk03NP
from xferpipe.datasets import reidentification

_NAME = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)_\d+\.\w+")
_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_PUBLISHED = {
    "detected": reidentification.Published(
        {"train": (7_365, 767), "query": (1_400, 700), "gallery": (5_332, 700)}, cameras=2
    ),
    "labeled": reidentification.Published(
        {"train": (7_368, 767), "query": (1_400, 700), "gallery": (5_328, 700)}, cameras=2
    ),
}


def read(dataset: Cuhk03NP, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images of the three folders of one kind of boxes."""
    rows = reidentification.split_folders(root, _folders(dataset), _NAME, "0001_c1_11.png")
    where = f"CUHK03-np ({dataset.boxes}) in {root}"
    reidentification.check(rows, where=where, published=published(dataset))
    return rows


def published(dataset: Cuhk03NP) -> reidentification.Published:
    """Return the counts that the set should have."""
    return _PUBLISHED[dataset.boxes]


def files(dataset: Cuhk03NP) -> list[str]:
    """List the images of the three folders."""
    return reidentification.images_of(dataset.root, _folders(dataset).values())


def _folders(dataset: Cuhk03NP) -> dict[str, str]:
    return {split: f"{dataset.boxes}/{folder}" for split, folder in _FOLDERS.items()}
