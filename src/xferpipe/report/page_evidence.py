"""What the page needs beyond the figures: predictions of picked runs, and the targets' images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars

from xferpipe.config.jobs import ReportJob
from xferpipe.records import UNREADABLE, RecordError, check_digest, empty
from xferpipe.report.evidence import Evidence, load
from xferpipe.report.target_images import target_images

_SINGLE_IMAGES = "predictions"


def load_page(
    job: ReportJob,
    tables: Mapping[str, Path],
    targets: Mapping[str, Mapping[str, Path | None]],
    sources: Mapping[str, Path] | None = None,
) -> Evidence:
    """Read what the page is made of.

    Args:
        job: What the report is of.
        tables: File of each result table.
        targets: Files of each target's images, see `target_images`.
        sources: Manifests of data sets that models were pretrained on, likewise.
    Returns:
        The tables. One that is absent or unreadable is empty and named in `missing`.
    Raises:
        RecordError: A manifest is gone.
        DatasetError: The images of a target are not those of its manifest.
    """
    gathered = {name: path for name, path in tables.items() if name != _SINGLE_IMAGES}
    evidence = load(job, gathered)
    missing = dict(evidence.missing)
    try:
        predictions = _predictions(tables[_SINGLE_IMAGES], evidence["answers"])
    except RecordError as error:
        predictions = empty("predictions")
        missing[_SINGLE_IMAGES] = str(error).replace(
            f"{tables[_SINGLE_IMAGES]}", f"{_SINGLE_IMAGES}.parquet"
        )
    images = target_images(job, targets, sources or {})
    return replace(evidence, missing=missing, predictions=predictions, images=images)


def _predictions(path: Path, answers: polars.DataFrame) -> polars.DataFrame:
    """Read what picked models and recipes say of test images, and nothing else of the table.

    Raises:
        RecordError: There is no such table, or its values are not ours.
    """
    columns = ["target", "shots", "model", "recipe"]
    picked = answers.filter("pick").select(columns)
    if not path.exists():
        raise RecordError(f"{path}: no such table; run the rule that writes it")
    try:
        rows = polars.scan_parquet(path, glob=False).filter(polars.col("split") == "test")
        rows = rows.join(picked.lazy(), on=columns, how="semi", maintain_order="left").collect()
    except UNREADABLE as error:
        raise RecordError(f"{path}: cannot be read as Parquet ({error})") from None
    if rows.schema != empty("predictions").schema:
        raise RecordError(f"{path}: another version wrote it; delete it to rebuild it")
    check_digest(path)
    return rows
