"""What is odd about a data set that can be used: said before training, and again on the page."""

from __future__ import annotations

import polars

from xferpipe.config.datasets import Dataset
from xferpipe.datasets import reidentification
from xferpipe.datasets.checks import LABELLED_SPLITS, listed
from xferpipe.datasets.class_names import remarks
from xferpipe.datasets.copies import copy_findings
from xferpipe.datasets.file_findings import file_findings
from xferpipe.datasets.readers import reader_module

#: Fewer training images than this in a class leave next to nothing after the hold-outs.
FEW_IMAGES = 10
#: From this share of one identity on, one in ten random batches of 16 images is of it alone.
_MOST = 0.87
#: From this ratio of the largest class to the smallest, accuracy says little of the small ones.
_UNEVEN = 5


def findings(
    dataset: Dataset,
    rows: polars.DataFrame,
    files: polars.DataFrame | None = None,
    *,
    junk_rule: str = "same_camera",
) -> list[str]:
    """Say what is odd: each sentence has the count, names, and what to do.

    Args:
        dataset: Its block; readers of published sets know how many images it should have.
        rows: Table `manifest`.
        files: Table `image_findings`; None: nothing is known of the files.
        junk_rule: Rule of the ranking; cameras matter to "same_camera" alone.
    """
    odd = [] if files is None else file_findings(files, dataset)
    return [*_of_labels(dataset, rows, junk_rule), *odd, *copy_findings(rows)]


def _of_labels(dataset: Dataset, rows: polars.DataFrame, junk_rule: str) -> list[str]:
    if (rows["split"] == "query").any():
        published = getattr(reader_module(dataset.reader), "published", None)
        counts = None if published is None else published(dataset)
        found = reidentification.findings(rows, published=counts, junk_rule=junk_rule)
        return [*found, *_one_of_most(rows)]
    return [*_few(rows), *_uneven(rows), *_odd_names(rows)]


def _one_of_most(rows: polars.DataFrame) -> list[str]:
    """Find out whether random batches would often be of one identity."""
    counts = _counts(rows.filter(split="train"))
    if counts.is_empty():
        return []
    (name, most), images = counts.row(-1), counts["len"].sum()
    if counts.height > 1 and most < _MOST * images:
        return []
    return [
        f"identity {name} has {most} of the {images} training images: in batches of one identity a "
        "loss that compares images learns nothing: add images of others, or set sampler: pk in the "
        "recipe"
    ]


def _few(rows: polars.DataFrame) -> list[str]:
    """Find classes with few images to train on."""
    counts = _counts(rows.filter(split="train")).filter(polars.col("len") < FEW_IMAGES)
    if counts.is_empty():
        return []
    named = listed(f"{name} ({count})" for name, count in counts.iter_rows())
    return [
        f"{counts.height} classes have fewer than {FEW_IMAGES} training images: {named}; answers "
        "will be unsure: add images, or leave these classes out"
        if counts.height > 1
        else f"class {named} has fewer than {FEW_IMAGES} training images; answers will be unsure: "
        "add images, or leave the class out"
    ]


def _uneven(rows: polars.DataFrame) -> list[str]:
    """Find out whether the largest class has many times the images of the smallest."""
    counts = _counts(rows.filter(polars.col("split").is_in(LABELLED_SPLITS)))
    (small, fewest), (large, most) = counts.row(0), counts.row(-1)
    if most < _UNEVEN * fewest:
        return []
    return [
        f"class {large} has {most} images and class {small} has {fewest}: accuracy says little of "
        "small classes; consider judged_by: balanced_accuracy for the target"
    ]


def _odd_names(rows: polars.DataFrame) -> list[str]:
    """Find classes that their names tell to be something else, as quantities or several labels."""
    counts = _counts(rows.filter(polars.col("split").is_in(LABELLED_SPLITS)))
    return remarks(dict(counts.iter_rows()))


def _counts(rows: polars.DataFrame) -> polars.DataFrame:
    """Count the images of each class, the smallest first."""
    return rows.group_by("class_name").len().sort("len", "class_name")
