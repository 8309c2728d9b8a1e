"""The manifest stage: list a data set, one row an image, check it and number the rows."""

from __future__ import annotations

import importlib
from pathlib import Path

import polars

from xferpipe.config.datasets import NamedClasses
from xferpipe.config.jobs import ManifestJob
from xferpipe.datasets import checks, class_choice, decoding, splits
from xferpipe.datasets.readers import reader_module
from xferpipe.records import empty, write_table


def manifest(job: ManifestJob, *, root: Path | None, manifest: Path) -> None:
    """List a data set, check it and write table `manifest`.

    Args:
        job: Name, data set and seed.
        root: Folder that paths start from; None where images are no files.
        manifest: Written: table `manifest`.
    Raises:
        DatasetError: The data set cannot be used; the message names the path and the cure.
    """
    rows = rows_of(job, root)
    paths = rows["path"].drop_nulls().to_list()
    if paths and not job.dataset.pack:
        # Packing would decode every file; without it, a broken one would stop some later epoch.
        decoding.check_whole([Path(root) / path for path in paths])
    write_table("manifest", rows, manifest)


def rows_of(job: ManifestJob, root: Path | None, *, tested: bool = True) -> polars.DataFrame:
    """List a data set and check it.

    Args:
        job: Name, data set and seed.
        root: Folder that paths start from; None where images are no files.
        tested: Whether there must be images to test on.
    Returns:
        Rows of table `manifest`.
    Raises:
        DatasetError: As `manifest`.
    """
    dataset, where = job.dataset, f"data set {job.name!r}"
    found = reader_module(dataset.reader).read(dataset, root=root, seed=job.seed)
    rows = polars.concat([empty("manifest").drop("row"), found], how="diagonal")
    if not rows.is_empty():
        if isinstance(dataset, NamedClasses):
            rows = class_choice.of_classes(rows, dataset.classes, where=where)
        rows = splits.with_test_split(rows, dataset.test_fraction, job.seed)
        rows = splits.at_most(rows, dataset.maximum_images_per_class, job.seed)
    rows = _numbered(rows)
    checks.check_rows(rows, where=where, tested=tested)
    paths = rows["path"].drop_nulls().to_list()
    if paths:
        if root is None:
            raise checks.DatasetError(f"{where}: its images are files, but no root folder is given")
        checks.check_files(paths, Path(root), where=where)
    if job.ranked is not None:
        # By name, as a registered module: its code is nothing to sets that are not ranked.
        module = importlib.import_module("xferpipe.datasets.rankable")
        module.check_rankable(rows, job.ranked, where=where, root=root)
    return rows


def _numbered(rows: polars.DataFrame) -> polars.DataFrame:
    """Sort by split, then path or index, and number from 0: one order on every machine."""
    order = polars.col("split").replace_strict(
        {name: i for i, name in enumerate(checks.SPLITS)}, default=len(checks.SPLITS)
    )
    rows = rows.sort(order, "path", "index", "label", maintain_order=True)
    return rows.with_row_index("row").with_columns(polars.col("row").cast(polars.Int64))
