"""Checks of data before any training: each failure names the file, the count and the cure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import polars

SPLITS = ("train", "validation", "test", "query", "gallery")
#: Words for the splits of a classification set, in lower case: those that data sets on the Hugging
#: Face hub are told apart by.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
#: Splits whose labels are classes that a classifier is trained on or tested by.
LABELLED_SPLITS = ("train", "validation", "test")


class DatasetError(ValueError):
    """A data set cannot be used as it is; the message names what is wrong, where, and the cure."""


def listed(names: Iterable[object], limit: int = 5) -> str:
    """Join the first names for a message and count the rest."""
    names = [str(name) for name in names]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def check_rows(rows: polars.DataFrame, *, where: str, tested: bool = True) -> None:
    """Check the rows of a manifest against each other.

    Args:
        rows: Table `manifest`.
        where: Path or name for the messages.
        tested: Whether there must be images to test on.
    Raises:
        DatasetError: No rows, an unknown split, duplicate rows, rows out of order, labels outside
            their range, a class without training images, or no split to test on.
    """
    if rows.is_empty():
        raise DatasetError(f"{where}: no images; check the data set's root and its layout")
    if unknown := set(rows["split"].unique()) - set(SPLITS):
        raise DatasetError(
            f"{where}: unknown splits {listed(sorted(map(str, unknown)))}; "
            f"allowed: {', '.join(SPLITS)}"
        )
    _check_places(rows, where)
    _check_duplicates(rows, where)
    _check_labels(rows, where)
    if tested and not set(rows["split"].unique()) & {"test", "query"}:
        raise DatasetError(
            f"{where}: no test split (splits: {listed(sorted(rows['split'].unique()))}); mark some "
            "images as test, or leave every split empty and set 'test_fraction'"
        )


def _check_places(rows: polars.DataFrame, where: str) -> None:
    """Each image is either a file or a position in a storage, and rows count from 0."""
    nowhere = rows.filter(polars.col("path").is_null() == polars.col("index").is_null())
    if not nowhere.is_empty():
        raise DatasetError(
            f"{where}: row {nowhere['row'][0]} needs either a path or an index ({len(nowhere)} "
            "such rows); rebuild the manifest"
        )
    if not (rows["row"] == polars.int_range(len(rows), eager=True)).all():
        raise DatasetError(
            f"{where}: rows are not numbered 0 to {len(rows) - 1} in order, so packed images would "
            "be given to other labels; rebuild the manifest"
        )


def _check_duplicates(rows: polars.DataFrame, where: str) -> None:
    twice = (
        rows.group_by("split", "path", "index")
        .agg("row")
        .filter(polars.col("row").list.len() > 1)
        .sort(polars.col("row").list.first())
    )
    if not twice.is_empty():
        first = twice.row(0, named=True)
        place = first["path"] or f"index {first['index']}"
        raise DatasetError(
            f"{where}: {place} is listed {len(first['row'])} times in split {first['split']} (rows "
            f"{listed(first['row'])}; {len(twice)} images are listed more than once); keep one "
            "row of each"
        )
    # Query and gallery may share files: an image's own copy is junk for it by the camera rule.
    shared = (
        rows.filter(polars.col("path").is_not_null())
        .with_columns(polars.col("split").replace({"query": "gallery"}))
        .group_by("path")
        .agg(polars.col("split").unique().sort())
        .filter(polars.col("split").list.len() > 1)
        .sort("path")
    )
    if not shared.is_empty():
        raise DatasetError(
            f"{where}: {shared['path'][0]} is in more than one split "
            f"({', '.join(shared['split'][0])}; {len(shared)} such files): testing on training "
            "images proves nothing; keep each file in one split"
        )


def _check_labels(rows: polars.DataFrame, where: str) -> None:
    trained = rows.filter(polars.col("split") == "train")
    if trained.is_empty() and (rows["split"] == "query").any():
        return  # Ranked by models as they are; whoever trains on the set asks for more.
    if trained.is_empty():
        raise DatasetError(f"{where}: no training images; mark some images as train")
    labelled = rows.filter(polars.col("split").is_in(LABELLED_SPLITS))
    classes = trained["class_name"].n_unique()
    bad = labelled.filter(
        polars.col("label").is_null()
        | (polars.col("label") < 0)
        | (polars.col("label") >= labelled["class_name"].n_unique())
    )
    if not bad.is_empty():
        row = bad.row(0, named=True)
        raise DatasetError(
            f"{where}: row {row['row']} ({row['path'] or row['index']}) has label {row['label']}, "
            f"expected 0 to {labelled['class_name'].n_unique() - 1} ({len(bad)} such rows); number "
            "the classes from 0 without gaps"
        )
    pairs = labelled.select("label", "class_name").unique()
    # One name a label is enough: with no more labels than names, no name has two labels then.
    shared = pairs.filter(polars.col("label").is_duplicated()).sort("label", "class_name")
    if not shared.is_empty():
        raise DatasetError(
            f"{where}: label {shared['label'][0]} goes with {listed(shared['class_name'].head(2))};"
            " each class needs one label and one name"
        )
    untrained = labelled.join(trained, on="class_name", how="anti")["class_name"].unique().sort()
    if len(untrained):
        raise DatasetError(
            f"{where}: class {listed(untrained)} has no training images (classes with some: "
            f"{classes}); add images or remove the class from every split"
        )
    if classes < 2:
        raise DatasetError(
            f"{where}: one class only ({trained['class_name'][0]!r}, {len(trained)} images); "
            "classification needs two: is the root one folder too deep or too high?"
        )


def check_names(paths: Sequence[str], *, where: str) -> None:
    """Refuse two files of one name in one folder: `a.jpg` beside `A.JPG` or `a.png`.

    Such pairs are nearly always one picture twice, which a random split puts on both sides.

    Raises:
        DatasetError: Two files differ in extension or letter case alone.
    """
    names = defaultdict(list)
    for path in paths:
        names[PurePosixPath(path).with_suffix("").as_posix().lower()].append(path)
    pairs = [sorted(group) for group in names.values() if len(group) > 1]
    if pairs:
        raise DatasetError(
            f"{where}: two files of one name: {listed(min(pairs))} ({len(pairs)} such names); "
            "remove one of each, or rename it if they are different pictures"
        )
