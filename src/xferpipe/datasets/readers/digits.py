"""The UCI optical digits: 1,797 real 8 x 8 scans of 16 grey levels, installed with scikit-learn.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy
import polars
from PIL import Image

from xferpipe.config.datasets import Digits
from xferpipe.datasets.checks import DatasetError


def read(dataset: Digits, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the digits that the study keeps; `classes` gives their label order."""
    labels = {digit: label for label, digit in enumerate(dataset.classes)}
    kept = [(i, digit) for i, digit in enumerate(_scans()[1].tolist()) if digit in labels]
    return polars.DataFrame(
        {
            "index": [i for i, _ in kept],
            "label": [labels[digit] for _, digit in kept],
            "class_name": [str(digit) for _, digit in kept],
            "split": [None] * len(kept),
        },
        schema_overrides={"split": polars.String},
    )


def images(dataset: Digits, manifest: polars.DataFrame, *, seed: int) -> Iterator[numpy.ndarray]:
    """Yield the digits, resized and repeated over three channels: uint8 (b, 3, px, px)."""
    scans, side = _scans()[0], (dataset.image_px, dataset.image_px)
    for index in manifest["index"]:
        image = Image.fromarray(scans[index]).resize(side, Image.Resampling.BILINEAR)
        yield numpy.repeat(numpy.asarray(image)[None, None], 3, axis=1)


@cache
def _scans() -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the scans, uint8 (1797, 8, 8) in 0..255, and their digits, int64 (1797).

    The file is read in place: importing scikit-learn for it costs fifteen times as long.
    """
    package = find_spec("sklearn")
    path = Path(package.origin).parent / "datasets/data/digits.csv.gz" if package else None
    if path is None or not path.is_file():
        raise DatasetError(
            f"reader digits: {path or 'scikit-learn'} is not there; install scikit-learn >= 1.5"
        )
    with gzip.open(path, "rt") as file:
        table = numpy.loadtxt(file, delimiter=",")
    grey = numpy.rint(table[:, :-1] * (255 / 16)).astype(numpy.uint8)
    return grey.reshape(-1, 8, 8), table[:, -1].astype(numpy.int64)
