"""The manifest stage: list a data set, one row an image, check it and number the rows."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars

from xferpipe.config.datasets import Dataset, FilesBlock, NamedClasses
from xferpipe.config.jobs import ManifestJob
from xferpipe.datasets import (
    checks,
    class_choice,
    fingerprint,
    inspection,
    reidentification,
    splits,
)
from xferpipe.datasets.file_findings import file_findings
from xferpipe.datasets.readers import reader_module
from xferpipe.datasets.unreadable import UnreadableImages, logged
from xferpipe.records import empty, write_table

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What a data set holds.

    Attributes:
        rows: Table `manifest`.
        findings: Table `image_findings`: files that are left out or odd, labels read as others.
    """

    rows: polars.DataFrame
    findings: polars.DataFrame


def manifest(job: ManifestJob, *, root: Path | None, manifest: Path, findings: Path) -> None:
    """List a data set, check it and write tables `manifest` and `image_findings`.

    Args:
        job: Name, data set and seed.
        root: Folder that paths start from; None where images are no files.
        manifest: Written: table `manifest`.
        findings: Written: table `image_findings`.
    Raises:
        DatasetError: The data set cannot be used; the message names the path and the cure.
    """
    try:
        found = listing(job, root)
    except UnreadableImages as error:
        raise logged(error) from None
    write_table("image_findings", found.findings, findings)
    write_table("manifest", found.rows, manifest)


def listing(
    job: ManifestJob,
    root: Path | None,
    *,
    tested: bool = True,
    whole: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Listing:
    """List a data set and check it.

    Args:
        job: Name, data set and seed.
        root: Folder that paths start from; None where images are no files.
        tested: Whether there must be images to test on.
        whole: Decode every file; where the data set skips what cannot be decoded, this is done
            anyway.
        progress: Called with what is done, files done and in all.
    Raises:
        UnreadableImages: Files cannot be decoded, and the data set does not skip these.
        DatasetError: The data set cannot be used; the message names the path and the cure.
    """
    dataset, where = job.dataset, f"data set {job.name!r}"
    reader = reader_module(dataset.reader)
    found = reader.read(dataset, root=root, seed=job.seed)
    rows = polars.concat([empty("manifest").drop("row"), found], how="diagonal")
    seen = [empty("image_findings")]
    if not rows.is_empty():
        if isinstance(dataset, NamedClasses):
            rows = class_choice.of_classes(rows, dataset.classes, where=where)
        rows = splits.with_test_split(rows, dataset.test_fraction, job.seed)
        skips = isinstance(dataset, FilesBlock) and dataset.unreadable == "skip"
        if skips:
            # After the split: a file that is mended later changes no other one's side.
            rows, part = _readable(rows, _root(root, where), dataset, progress)
            seen.append(part)
        rows = splits.at_most(rows, dataset.maximum_images_per_class, job.seed)
        if not skips and rows["path"].count():
            looked = inspection.inspect(
                rows["path"].drop_nulls().unique().sort().to_list(),
                _root(root, where),
                dataset.read_as,
                whole=whole,
                progress=progress,
            )
            if looked.problems:
                of = rows["path"].n_unique()
                raise UnreadableImages(looked.problems, of=of, where=where)
            seen.append(looked.rows)
    rows = _numbered(rows)
    checks.check_rows(rows, where=where, tested=tested)
    if rows["path"].count():
        names = rows["path"].to_list()
        contents = fingerprint.contents(_root(root, where), names, fingerprint.use_of(dataset))
        rows = rows.with_columns(content=polars.Series(contents, dtype=polars.String))
    if job.ranked is not None:
        # By name, as a registered module: its code is nothing to sets that are not ranked.
        module = importlib.import_module("xferpipe.datasets.rankable")
        module.check_rankable(rows, job.ranked, where=where)
    if hasattr(reader, "passed_over"):
        seen.append(inspection.passed_over(reader.passed_over(dataset, root=root)))
    if hasattr(reader, "read_as"):
        seen.append(inspection.read_as(reader.read_as(dataset, root=root)))
    findings = polars.concat(seen).sort("kind", "path", maintain_order=True)
    return Listing(rows, findings)


def _root(root: Path | None, where: str) -> Path:
    if root is None:
        raise checks.DatasetError(f"{where}: its images are files, but no root folder is given")
    return Path(root)


def _readable(
    rows: polars.DataFrame,
    root: Path,
    dataset: Dataset,
    progress: Callable[[str, int, int], None],
) -> tuple[polars.DataFrame, polars.DataFrame]:
    """Return the rows of files that can be decoded, and what was found of all."""
    names = rows["path"].drop_nulls().unique().sort().to_list()
    looked = inspection.inspect(names, root, dataset.read_as, whole=True, progress=progress)
    for problem in looked.problems:
        _logger.info("left out: %s: %s", problem.path, problem.reason)
    if looked.problems:
        # One warning, as each is a line of the run's console.
        left_out = looked.rows.filter(kind=inspection.UNREADABLE)
        _logger.warning("%s", *file_findings(left_out, dataset))
    bad = looked.rows.filter(kind=inspection.UNREADABLE)["path"].implode()
    kept = rows.filter(polars.col("path").is_in(bad).not_())
    if lost := set(rows["class_name"].unique()) - set(kept["class_name"].unique()):
        if "query" not in rows["split"].unique():
            named = checks.listed(sorted(lost))
            raise checks.DatasetError(
                f"data set in {root}: no file of class {named} can be decoded; copy them again, or "
                "take the class out"
            )
        kept = reidentification.with_labels(kept.drop("label"))
    return kept, looked.rows


def _numbered(rows: polars.DataFrame) -> polars.DataFrame:
    """Sort by split, then path or index, and number from 0: one order on every machine."""
    order = polars.col("split").replace_strict(
        {name: i for i, name in enumerate(checks.SPLITS)}, default=len(checks.SPLITS)
    )
    rows = rows.sort(order, "path", "index", "label", maintain_order=True)
    return rows.with_row_index("row").with_columns(polars.col("row").cast(polars.Int64))
