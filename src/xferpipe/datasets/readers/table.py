"""A table of the user's own: one row an image, as CSV or Parquet.

Columns: `path`; `split` (train, validation, test, query, gallery, or other words for the first
three; all empty splits the set by `test_fraction`); for classification `label` (numbers or names);
for re-identification `identity` (numbers or names) and, where they are known, `camera` and
`sequence`. Other columns are left alone.

A CSV has commas, semicolons, tabs or bars between its columns. Nothing in it becomes a number
before it is known that 01 and 1 are not both there; but identity 0990 of the queries is 990 of the
gallery, and camera c1 is 1. Letter case of the columns' names does not count; the backslashes of
Windows' paths become slashes.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import polars

from xferpipe.config.datasets import TABLE_SUFFIXES, ImageTable
from xferpipe.datasets import reidentification, two_sides
from xferpipe.datasets.checks import SPLIT_WORDS, SPLITS, DatasetError, listed
from xferpipe.datasets.class_names import ClassNameError, class_texts, in_order, refuse_several
from xferpipe.datasets.gallery_draws import with_gallery
from xferpipe.records import UNREADABLE
from xferpipe.records.delimited import DelimitedFileError, form_of, read_delimited

_NUMBERED = ("identity", "camera", "sequence")
_SIDES = ("query", "gallery")
_COLUMNS = ("path", "split", "label", *_NUMBERED)
#: Parts of a path that lead nowhere: the same file in two writings would look like two.
_NOWHERE = re.compile(r"(?:(?<=/)|^)(?:\./|/)+(?=.)")
_logger = logging.getLogger(__name__)


def read(dataset: ImageTable, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images of the table; with query or gallery rows it is a re-identification set."""
    where = f"table {dataset.path}"
    rows = _listed(dataset, root, where)
    if dataset.draw_gallery is not None or rows["split"].is_in(_SIDES).any():
        return _reidentification(rows, dataset, where)
    return _classification(rows, where)


def read_as(dataset: ImageTable, *, root: Path | None) -> list[tuple[str, str]]:
    """Say which labels of queries and gallery are read as numbers that are written otherwise.

    Returns:
        The table's name and a sentence, a pair for each such column.
    """
    where = f"table {dataset.path}"
    rows = _listed(dataset, root, where)
    if not rows["split"].is_in(_SIDES).any():
        return []
    known = [name for name in _NUMBERED if name in rows.columns]
    rows = rows.with_columns(_texts_by_side(rows, name, where) for name in known)
    notes = [_tested(rows, name).note for name in known]
    return [(dataset.path.name, note) for note in notes if note is not None]


def _listed(dataset: ImageTable, root: Path | None, where: str) -> polars.DataFrame:
    """Return the rows of the table with their paths and splits."""
    rows, others = _load(dataset.path, where)
    if "path" not in rows.columns:
        names = [*rows.columns, *others]
        raise DatasetError(
            f"{where}: no column 'path' (columns: {listed(names)}); allowed: {', '.join(_COLUMNS)}"
        )
    if others:
        _logger.info("%s: columns that mean nothing here: %s", where, listed(sorted(others)))
    # Spreadsheets leave rows without anything in them.
    rows = rows.filter(~polars.all_horizontal(polars.all().is_null()))
    _refuse_empty(rows, "path", where)
    return rows.with_columns(_paths(rows["path"], root), _splits(rows, where))


def files(dataset: ImageTable) -> list[str]:
    """List the images that the table lists; its root may be a folder that holds much else.

    A table that cannot be read lists none: `read` says what is wrong with it.

    Raises:
        DatasetError: There is no such root.
    """
    reidentification.folder(dataset.root)
    try:
        rows, _ = _load(dataset.path, "", ("path",))
        return _paths(rows["path"].drop_nulls(), dataset.root).to_list()
    except (DatasetError, polars.exceptions.PolarsError):
        return []


def column_names(path: Path) -> list[str]:
    """Return the columns of a table that mean something here, by their own names.

    Raises:
        DatasetError: The file cannot be read as a table.
    """
    return _load(path, f"table {path}", ())[0].columns


def _load(
    path: Path, where: str, only: tuple[str, ...] | None = _COLUMNS
) -> tuple[polars.DataFrame, list[str]]:
    """Return the columns that mean something here, a CSV's as text, and the names of the others."""
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise DatasetError(f"{where}: expected a file that ends in {', '.join(TABLE_SUFFIXES)}")
    try:
        if suffix == ".parquet":
            table = polars.scan_parquet(path, glob=False)
            form, written = None, table.collect_schema().names()
        else:
            form = form_of(path, _COLUMNS)
            written = [name or f"column_{i}" for i, name in enumerate(form.names, start=1)]
        own = _own_names(written, where)
        if only == ():
            return polars.DataFrame(schema=dict.fromkeys(own, polars.String)), []
        taken = {name: old for name, old in own.items() if name in (only or own)}
        if form is None:
            rows = table.select(taken.values()).collect()
            for column in rows:
                if column.dtype.is_nested() or column.dtype in (polars.Binary, polars.Object):
                    raise DatasetError(
                        f"{where}: column {column.name!r} has type {column.dtype}; expected one "
                        "text or number a row"
                    )
        else:
            rows = read_delimited(path, form, only=taken.values(), texts=None)
            rows = rows.with_columns(_bare(column) for column in rows)
        rows = rows.rename({old: name for name, old in taken.items()}).select(list(taken))
    except DelimitedFileError as error:
        raise DatasetError(f"{where}: cannot be read ({error})") from None
    except UNREADABLE as error:
        raise DatasetError(f"{where}: cannot be read ({error}); correct 'path'") from None
    return rows, [name for name in written if name not in own.values()]


def _own_names(written: list[str], where: str) -> dict[str, str]:
    """Return the columns that mean something here: own name -> name in the file."""
    own: dict[str, str] = {}
    for old in written:
        name = old.strip().lower()
        if name not in _COLUMNS:
            continue
        if name in own:
            raise DatasetError(
                f"{where}: columns {own[name]!r} and {old!r} are both {name!r}; take one of them "
                "out, or rename it"
            )
        own[name] = old
    return own


def _bare(column: polars.Series) -> polars.Series:
    """Return a CSV's column without cells of spaces alone."""
    return column.set(column.str.strip_chars() == "", None)


def _paths(paths: polars.Series, root: Path | None) -> polars.Series:
    """Return paths with slashes and without spaces around, each in one writing."""
    written = paths.cast(polars.String).to_list()
    base = Path(root or ".")
    moved = []
    for text in written:
        plain = text.strip().replace("\\", "/")
        moved.append(text if text == plain or _is_file(base, text) else plain)
    return polars.Series("path", [_NOWHERE.sub(_kept, text) for text in moved], polars.String)


def _kept(found: re.Match[str]) -> str:
    """Keep the slash that makes a path an absolute one."""
    return "/" if found.start() == 0 and found[0].startswith("/") else ""


def _is_file(base: Path, name: str) -> bool:
    """Tell whether a name with backslashes is one: it may be where the system has them."""
    try:
        return (base / name).is_file()
    except (OSError, ValueError):
        return False


def _splits(rows: polars.DataFrame, where: str) -> polars.Series:
    """Return the splits by their own names, null where the table has none."""
    if "split" not in rows.columns:
        return polars.Series("split", [None] * len(rows), dtype=polars.String)
    named = rows["split"].cast(polars.String).str.strip_chars().str.to_lowercase()
    named = named.replace({**SPLIT_WORDS, "": None}).alias("split")
    if unknown := set(named.drop_nulls()) - set(SPLITS):
        raise DatasetError(
            f"{where}: unknown splits {listed(sorted(unknown))}; allowed: {', '.join(SPLITS)}"
        )
    return named


def _classification(rows: polars.DataFrame, where: str) -> polars.DataFrame:
    column = "label" if "label" in rows.columns else "identity"
    if column not in rows.columns:
        raise DatasetError(
            f"{where}: neither 'label' (classification) nor 'identity' (re-identification); "
            f"columns that count: {listed(rows.columns)}"
        )
    names = _texts(rows[column], where)
    try:
        refuse_several(names)
    except ClassNameError as error:
        raise DatasetError(f"{where}: {error}") from None
    _refuse_empty(names.to_frame(), column, where)
    order = in_order(names.unique().to_list())
    return rows.select(
        "path",
        names.replace_strict(order, range(len(order)), return_dtype=polars.Int64).alias("label"),
        names.alias("class_name"),
        "split",
    )


def _reidentification(rows: polars.DataFrame, dataset: ImageTable, where: str) -> polars.DataFrame:
    if "identity" not in rows.columns:
        raise DatasetError(f"{where}: query and gallery rows need a column 'identity'")
    known = [name for name in _NUMBERED if name in rows.columns]
    rows = rows.with_columns(_texts_by_side(rows, name, where) for name in known)
    _refuse_empty(rows, "identity", where)
    draw = dataset.draw_gallery
    if draw is None:
        _refuse_empty(rows, "split", where)
    rows = rows.with_columns(polars.col("identity").alias("class_name"))
    rows = rows.with_columns(
        _numbers(rows, name, where)
        if name in rows.columns
        else polars.lit(None, polars.Int64).alias(name)
        for name in _NUMBERED
    )
    if draw is not None:
        rows = with_gallery(rows, draw, dataset.test_fraction, where=where)
    rows = reidentification.with_labels(rows.drop("label", strict=False))
    reidentification.check(rows, where=where)
    return rows


def _texts(values: polars.Series, where: str) -> polars.Series:
    """Return classes, identities or cameras as text, each in one writing."""
    try:
        return class_texts(values, fractions=values.name in ("camera", "sequence"))
    except ClassNameError as error:
        raise DatasetError(f"{where}: {error}") from None


def _texts_by_side(rows: polars.DataFrame, name: str, where: str) -> polars.Series:
    """Return identities or cameras as text, in one writing among queries, gallery, and others."""
    split = rows["split"].fill_null("")
    side = polars.when(split.is_in(_SIDES)).then(split).otherwise(polars.lit(""))
    sides = rows.select(polars.col(name), side.alias("side"), place=polars.int_range(polars.len()))
    parts = [
        part.with_columns(_texts(part[name], where))
        for part in sides.partition_by("side", maintain_order=True)
    ]
    return polars.concat(parts).sort("place")[name]


def _numbers(rows: polars.DataFrame, name: str, where: str) -> polars.Series:
    """Return whole numbers as they are, and number names in the order of their letters.

    Of query and gallery rows, which often come from two lists, both spellings of a number count.
    """
    tested = _tested(rows, name)
    if tested.note is not None:
        _logger.warning("%s: %s", where, tested.note)
    split = rows["split"].fill_null("")
    others = ~split.is_in(_SIDES)
    trained = two_sides.alike(rows[name].filter(others), tested.gallery)
    parts = [tested.query, tested.gallery, trained.query]
    if any(part.dtype != polars.Int64 for part in (*parts, trained.gallery)):
        return rows[name].rank("dense").cast(polars.Int64).alias(name)
    places = rows.select(polars.int_range(polars.len())).to_series()
    order = [places.filter(mask) for mask in (split == "query", split == "gallery", others)]
    found = polars.DataFrame({"place": polars.concat(order), name: polars.concat(parts)})
    return found.sort("place")[name]


def _tested(rows: polars.DataFrame, name: str) -> two_sides.Sides:
    """Return one column of query and gallery rows in one type."""
    query, gallery = (
        rows[name].filter((rows["split"] == side).fill_null(value=False)) for side in _SIDES
    )
    return two_sides.alike(query, gallery)


def _refuse_empty(rows: polars.DataFrame, column: str, where: str) -> None:
    empty = rows.with_row_index("line", offset=1).filter(polars.col(column).is_null())
    if len(empty):
        raise DatasetError(
            f"{where}: {len(empty)} rows have no {column}: rows {listed(empty['line'])}; fill them "
            "in, or remove them"
        )
