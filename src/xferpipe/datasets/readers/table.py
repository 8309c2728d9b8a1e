"""A table of the user's own: one row an image, as CSV or Parquet.

Columns: `path`; `split` (train, validation or val, test, query, gallery; all empty splits the set
by `test_fraction`); for classification `label` (numbers or names); for re-identification
`identity` (numbers or names) and, where they are known, `camera` and `sequence`. Other columns are
left alone, as are spaces around headers and texts. Identity `0990` of one side is 990 of the other,
and camera `c1` is 1.
"""

from __future__ import annotations

import logging
from pathlib import Path

import polars

from xferpipe.config.datasets import ImageTable
from xferpipe.datasets import reidentification, two_sides
from xferpipe.datasets.checks import SPLITS, DatasetError, listed
from xferpipe.datasets.gallery_draws import with_gallery
from xferpipe.records import UNREADABLE

_COLUMNS = ("path", "split", "label", "identity", "camera", "sequence")
_logger = logging.getLogger(__name__)


def read(dataset: ImageTable, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images of the table; with query or gallery rows it is a re-identification set."""
    where = f"table {dataset.path}"
    try:
        table = two_sides.stripped(_load(dataset.path))
    except two_sides.SameColumnError as error:
        raise DatasetError(f"{where}: {error}") from None
    if "path" not in table.columns:
        raise DatasetError(
            f"{where}: no column 'path' (columns: {listed(table.columns)}); allowed: "
            f"{', '.join(_COLUMNS)}"
        )
    if ignored := sorted(set(table.columns) - set(_COLUMNS)):
        _logger.info("%s: columns that mean nothing here: %s", where, listed(ignored))
    rows = table.select(name for name in _COLUMNS if name in table.columns)
    _refuse_empty(rows, "path", where)
    rows = rows.with_columns(polars.col("path").cast(polars.String), _splits(rows, where))
    if dataset.draw_gallery is not None or rows["split"].is_in(["query", "gallery"]).any():
        return _reidentification(rows, dataset, where)
    return _classification(rows, where)


def files(dataset: ImageTable) -> list[str]:
    """List the images that the table lists; its root may be a folder that holds much else.

    A table that cannot be read lists none: `read` says what is wrong with it.

    Raises:
        DatasetError: There is no such root.
    """
    reidentification.folder(dataset.root)
    try:
        if dataset.path.suffix.lower() == ".csv":
            table = polars.scan_csv(dataset.path, glob=False, infer_schema=False)
        else:
            table = polars.scan_parquet(dataset.path, glob=False)
        names = {new: old for old, new in two_sides.headers(table.collect_schema().names()).items()}
        if "path" not in names:
            return []
        rows = table.select(polars.col(names["path"]).cast(polars.String).alias("path")).collect()
        return rows["path"].str.strip_chars().drop_nulls().to_list()
    except (*UNREADABLE, two_sides.SameColumnError):
        return []


def _load(path: Path) -> polars.DataFrame:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DatasetError(f"table {path}: expected a .csv or .parquet file")
    try:
        if suffix == ".csv":
            return polars.read_csv(path, glob=False, infer_schema_length=None)
        return polars.read_parquet(path, glob=False)
    except UNREADABLE as error:
        raise DatasetError(f"table {path}: cannot be read ({error}); correct 'path'") from None


def _splits(rows: polars.DataFrame, where: str) -> polars.Series:
    """Return the splits by their own names, null where the table has none."""
    if "split" not in rows.columns:
        return polars.Series("split", [None] * len(rows), dtype=polars.String)
    named = rows["split"].cast(polars.String).str.strip_chars().str.to_lowercase()
    named = named.replace({"val": "validation", "": None}).alias("split")
    if unknown := set(named.drop_nulls()) - set(SPLITS):
        raise DatasetError(
            f"{where}: unknown splits {listed(sorted(unknown))}; allowed: {', '.join(SPLITS)}"
        )
    return named


def _classification(rows: polars.DataFrame, where: str) -> polars.DataFrame:
    column = "label" if "label" in rows.columns else "identity"
    if column not in rows.columns:
        raise DatasetError(
            f"{where}: neither 'label' (classification) nor 'identity' (re-identification)"
        )
    _refuse_empty(rows, column, where)
    names = rows[column].unique().sort()  # numbers by value, names by letter
    labels = polars.DataFrame({column: names}).with_row_index("number")
    return rows.join(labels, on=column, how="left", maintain_order="left").select(
        "path",
        polars.col("number").cast(polars.Int64).alias("label"),
        polars.col(column).cast(polars.String).alias("class_name"),
        "split",
    )


def _reidentification(rows: polars.DataFrame, dataset: ImageTable, where: str) -> polars.DataFrame:
    if "identity" not in rows.columns:
        raise DatasetError(f"{where}: query and gallery rows need a column 'identity'")
    _refuse_empty(rows, "identity", where)
    draw = dataset.draw_gallery
    if draw is None:
        _refuse_empty(rows, "split", where)
    rows = rows.with_columns(polars.col("identity").cast(polars.String).alias("class_name"))
    rows = rows.with_columns(
        _numbers(rows, name, where)
        if name in rows.columns
        else polars.lit(None, polars.Int64).alias(name)
        for name in ("identity", "camera", "sequence")
    )
    if draw is not None:
        rows = with_gallery(rows, draw, dataset.test_fraction, where=where)
    rows = reidentification.with_labels(rows.drop("label", strict=False))
    reidentification.check(rows, where=where)
    return rows


def _numbers(rows: polars.DataFrame, name: str, where: str) -> polars.Series:
    """Return whole numbers as they are, and number names in the order of their letters.

    Of query and gallery rows, which often come from two lists, both spellings of a number count.
    """
    split = rows["split"].fill_null("")
    sides = {side: rows[name].filter(split == side) for side in ("query", "gallery")}
    tested = two_sides.alike(*sides.values())
    if tested.note is not None:
        _logger.warning("%s: %s", where, tested.note)
    others = ~split.is_in(list(sides))
    trained = two_sides.alike(rows[name].filter(others), tested.gallery)
    parts = [tested.query, tested.gallery, trained.query]
    if any(part.dtype != polars.Int64 for part in (*parts, trained.gallery)):
        return rows[name].cast(polars.String).rank("dense").cast(polars.Int64).alias(name)
    places = rows.select(polars.int_range(polars.len())).to_series()
    order = [places.filter(mask) for mask in (split == "query", split == "gallery", others)]
    found = polars.DataFrame({"place": polars.concat(order), name: polars.concat(parts)})
    return found.sort("place")[name]


def _refuse_empty(rows: polars.DataFrame, column: str, where: str) -> None:
    empty = rows.with_row_index("line", offset=1).filter(polars.col(column).is_null())
    if len(empty):
        raise DatasetError(
            f"{where}: {len(empty)} rows have no {column}: rows {listed(empty['line'])}; fill them "
            "in, or remove them"
        )
