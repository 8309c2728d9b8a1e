"""Market-1501: 1,501 people seen by 6 cameras; names such as `1390_c1s6_017446_01.jpg`.

A name is identity, camera and sequence, frame and box. Identity -1 is a failed detection, which the
protocol drops; identity 0 is background, which stays in the gallery and matches nobody.

Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars

from xferpipe.config.datasets import Market1501
from xferpipe.datasets import reidentification

_NAME = re.compile(r"(?P<identity>-?\d+)_c(?P<camera>\d+)s\d+_\d+_\d+\.\w+")
_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_PUBLISHED = reidentification.Published(
    # The 751st identity of the gallery is the background.
    {"train": (12_936, 751), "query": (3_368, 750), "gallery": (15_913, 751)},
    cameras=6,
)
_DROPPED = -1


def read(dataset: Market1501, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images, those of identity -1 left out."""
    parts = [
        reidentification.named_images(root, part, split, _NAME, "1390_c1s6_017446_01.jpg")
        for split, part in _FOLDERS.items()
    ]
    rows = polars.concat(parts).filter(polars.col("identity") != _DROPPED)
    rows = reidentification.with_labels(rows)
    reidentification.check(rows, where=f"Market-1501 in {root}", published=published(dataset))
    return rows


def published(dataset: Market1501) -> reidentification.Published | None:
    """Return the counts that the set should have; None for a generated one."""
    return None if dataset.generate else _PUBLISHED


def files(dataset: Market1501) -> list[str]:
    """List the images of the three folders."""
    return reidentification.images_of(dataset.root, _FOLDERS.values())


def passed_over(dataset: Market1501, *, root: Path | None) -> list[str]:
    """List the files in the three folders whose names are not those of images."""
    return reidentification.passed_over(root, _FOLDERS.values())
