"""Sets drawn by this package: each image is a pure function of (seed, kind, class, number)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import polars

from xferpipe.config.datasets import Generated
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.generated import letters, shapes, textures
from xferpipe.seeding import numpy_generator

_KINDS = {"letters": letters, "shapes": shapes, "textures": textures}


def read(dataset: Generated, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images that will be drawn; `index` is class * images_per_class + number."""
    each = dataset.images_per_class
    labels = numpy.repeat(numpy.arange(dataset.classes), each)
    names = _KINDS[dataset.kind].CLASS_NAMES
    return polars.DataFrame(
        {
            "index": numpy.arange(len(labels)),
            "label": labels,
            "class_name": [names[dataset.first_class + label] for label in labels],
            "split": [None] * len(labels),
        },
        schema_overrides={"split": polars.String},
    )


def images(dataset: Generated, manifest: polars.DataFrame, *, seed: int) -> Iterator[numpy.ndarray]:
    """Draw the images of a manifest: uint8 (1, 3, px, px) each."""
    draw = _KINDS[dataset.kind].draw
    for index in manifest["index"]:
        label, number = divmod(index, dataset.images_per_class)
        if label >= dataset.classes:
            raise DatasetError(
                f"image {index} is in the manifest, but generated {dataset.kind} have "
                f"{dataset.classes * dataset.images_per_class}; rebuild the manifest"
            )
        label += dataset.first_class
        generator = numpy_generator(seed, "generated", dataset.kind, label, number)
        image = draw(label, dataset.image_px, generator)
        yield image.transpose(2, 0, 1)[None]
