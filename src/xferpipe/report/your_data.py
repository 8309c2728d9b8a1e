"""The data of each target: how many images of which class and split, some of them, and warnings."""

from __future__ import annotations

from dataclasses import dataclass

import polars

from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.copies import copies_of_sources
from xferpipe.datasets.findings import findings
from xferpipe.datasets.splits import validation_rows
from xferpipe.report.evidence import Evidence
from xferpipe.report.target_images import TargetImages

#: Pictures of a class, classes that have some, and pictures of the whole page.
PER_CLASS, CLASSES_SHOWN, PICTURES = 4, 12, 160
#: Splits in the order of the columns.
_SPLITS = ("train", "validation", "test", "query", "gallery")


@dataclass(frozen=True)
class ClassPictures:
    """Some images of one class, as data URIs, and how many it has, in words."""

    name: str
    counts: str
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class TargetData:
    """What a target's images are.

    Attributes:
        target: Name of the target.
        sentence: Images, classes and side in words.
        counts: One row a class: its name, and its images by split.
        classes: Pictures of some classes.
        warnings: What the checks of the data found odd.
    """

    target: str
    sentence: str
    counts: polars.DataFrame
    classes: tuple[ClassPictures, ...]
    warnings: tuple[str, ...]


def your_data(evidence: Evidence) -> list[TargetData]:
    """Return the data of every target whose images are at hand."""
    shown = PICTURES // max(len(evidence.images), 1)
    return [
        _target_data(evidence, target, images, shown) for target, images in evidence.images.items()
    ]


def _target_data(evidence: Evidence, target: str, images: TargetImages, shown: int) -> TargetData:
    rows = with_roles(evidence, target, images)
    counts = (
        rows.sort("identity", "label", "class_name", nulls_last=True)
        .pivot(
            "role", index="class_name", values="row", aggregate_function="len", maintain_order=True
        )
        .fill_null(0)
    )
    present = [name for name in _SPLITS if name in counts.columns]
    counts = counts.select(polars.col("class_name").alias("class"), *present)
    is_retrieval = evidence.job.targets[target].task == "retrieval"
    kind = "identities" if is_retrieval else "classes"
    side = images.dataset.image_px
    parts = ", ".join(f"{counts[name].sum():,} {_ROLES[name]}" for name in present)
    return TargetData(
        target=target,
        sentence=f"{rows.height:,} images of {counts.height:,} {kind}, read as squares of "
        f"{side} px: {parts}.",
        counts=counts,
        classes=_pictures(rows, images, counts, shown),
        warnings=(
            *findings(images.dataset, images.rows, images.files, junk_rule=_rule(evidence, target)),
            *copies_of_sources(images.rows, images.sources),
        ),
    )


def _rule(evidence: Evidence, target: str) -> str:
    """Return the junk rule that a target was ranked by; that of the field before any ranking."""
    ranked = evidence["retrieval"].filter(polars.col("target") == target)["junk_rule"].drop_nulls()
    return ranked[0] if len(ranked) else "same_camera"


_ROLES = {
    "train": "to train on",
    "validation": "held out to choose on",
    "test": "to test on",
    "query": "queries",
    "gallery": "in the gallery",
}


def with_roles(evidence: Evidence, target: str, images: TargetImages) -> polars.DataFrame:
    """Return a target's manifest with the column `role`: the split, after validation is held out.

    Where few shots are asked for, this is before they are drawn.
    """
    block, seed = evidence.job.targets[target], evidence.job.seed
    try:
        held_out = validation_rows(images.rows, block, seed).rows.tolist()
    except DatasetError:
        held_out = []  # The images are too few to hold some out; the fine-tunes say so.
    is_held_out = polars.col("row").is_in(held_out)
    return images.rows.with_columns(
        role=polars.when(is_held_out).then(polars.lit("validation")).otherwise("split")
    )


def _pictures(
    rows: polars.DataFrame, images: TargetImages, counts: polars.DataFrame, shown: int
) -> tuple[ClassPictures, ...]:
    """Take the first images of some classes, evenly over all of them."""
    some = counts.to_dicts()
    if len(some) > CLASSES_SHOWN:
        step = len(some) / CLASSES_SHOWN
        some = [some[int(i * step)] for i in range(CLASSES_SHOWN)]
    each = max(1, min(PER_CLASS, shown // max(len(some), 1)))
    found = []
    for row in some:
        name = row.pop("class")
        chosen = rows.filter(class_name=name)["row"].head(each)
        words = ", ".join(f"{count} {split}" for split, count in row.items() if count)
        found.append(ClassPictures(name, words, tuple(images.pictures(chosen).values())))
    return tuple(found)
