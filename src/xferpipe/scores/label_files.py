"""Labels from files, and what files of features and of labels are read by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy
import polars

from xferpipe.datasets.class_names import (
    ClassNameError,
    class_texts,
    numbers_or_names,
    refuse_several,
)
from xferpipe.records import UNREADABLE, ArrayFileError, map_array
from xferpipe.records.delimited import DelimitedFileError, form_of, read_delimited

#: Kinds of files that hold labels alone.
LABEL_SUFFIXES = (".npy", ".txt", ".csv", ".tsv", ".parquet")
#: Columns of a CSV that are looked for: they tell its separator.
_KNOWN = ("label", "path", "split", "class_name", "identity", "camera", "row")


def read_labels(path: Path) -> numpy.ndarray:
    """Read labels: integers or names (n).

    Raises:
        ValueError: The file cannot be read, or a row has no label.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: {what}; expected labels ({', '.join(LABEL_SUFFIXES)})")
    kind = path.suffix.lower()
    if kind == ".npy":
        return classes_of(read_array(path), path)
    if kind == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"{path}: is no UTF-8 text; save it as UTF-8") from None
        return classes_of(polars.Series("label", lines, polars.String), path)
    if kind not in (".csv", ".tsv", ".parquet"):
        raise ValueError(
            f"{path}: expected labels in a file that ends in {', '.join(LABEL_SUFFIXES)}"
        )
    table = read_parquet(path) if kind == ".parquet" else read_csv(path, texts=None)
    name = "label" if "label" in table.columns or len(table.columns) != 1 else table.columns[0]
    if name not in table.columns:
        raise ValueError(
            f"{path}: has columns {', '.join(table.columns)} but not label; name the column of "
            "labels so"
        )
    return classes_of(table[name], path)


def read_array(path: Path) -> numpy.ndarray:
    """Read an NPY file.

    Raises:
        ValueError: It cannot be read, or needs Python's pickle.
    """
    try:
        return numpy.array(map_array(path))
    except (ArrayFileError, MemoryError) as error:
        raise ValueError(f"{path}: cannot be read as NPY ({first_line(error)})") from None


def read_parquet(path: Path) -> polars.DataFrame:
    """Read a Parquet file.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return polars.read_parquet(path, glob=False)
    except UNREADABLE as error:
        raise ValueError(f"{path}: cannot be read as Parquet ({first_line(error)})") from None


def read_csv(path: Path, texts: Collection[str] | None = ("label",)) -> polars.DataFrame:
    """Read a CSV file whose first line names the columns; see `records.delimited`.

    Args:
        path: The file.
        texts: Columns that stay as they are written; None: all.
    Raises:
        ValueError: It cannot be read, its first line holds numbers, or a column has no name.
    """
    try:
        form = form_of(path, _KNOWN)
        if all(map(_is_number, form.names)):
            raise ValueError(
                f"{path}: its first line holds numbers ({listed(form.names)}); expected the names "
                "of the columns, as label,f0,f1"
            )
        for i, name in enumerate(form.names, start=1):
            if not name or name.startswith("Unnamed: "):
                # As pandas writes and reads its index: it would be taken for a feature.
                raise ValueError(
                    f"{path}: column {i} has no name; expected one for each. Where it is the "
                    "number of the row, leave it out (pandas: index=False) or call it row"
                )
        return read_delimited(path, form, texts=texts)
    except (DelimitedFileError, OSError) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({first_line(error)})") from None


def classes_of(values: polars.Series | numpy.ndarray, path: Path) -> numpy.ndarray:
    """Return labels as integers or names (n); whole numbers written as floats are integers.

    Raises:
        ValueError: A label is missing, is neither, has two writings, or is several in one.
    """
    if isinstance(values, numpy.ndarray):
        if values.ndim != 1 or values.dtype.kind not in "fiubUS":
            raise ValueError(
                f"{path}: labels have shape {values.shape} and type {values.dtype}; expected one "
                "whole number or name a row"
            )
        values = _series(values, path)
    values = values.alias("label")
    if values.dtype in (polars.String, polars.Categorical, polars.Enum):
        try:
            texts = class_texts(values)
            refuse_several(texts)
        except ClassNameError as error:
            raise ValueError(f"{path}: {error}") from None
        values = numbers_or_names(texts)
    if values.null_count():
        row = int(values.is_null().arg_true()[0])
        raise ValueError(
            f"{path}: {values.null_count()} rows have no label, the first is row {row} (from 0); "
            "give each one, or leave the row out"
        )
    if values.dtype.is_float():
        strange = values.filter((values != values.round()) | ~values.is_finite())
        if len(strange):
            raise ValueError(
                f"{path}: label holds {strange[0]}; expected classes: whole numbers or names"
            )
    if values.dtype.is_numeric() or values.dtype == polars.Boolean:
        numbers = values.cast(polars.Int64, strict=False)
        if numbers.null_count():
            raise ValueError(
                f"{path}: label holds {values.filter(numbers.is_null())[0]}; expected whole "
                "numbers of at most 64 bits, or names"
            )
        return numbers.to_numpy()
    if values.dtype == polars.String:
        return values.to_numpy().astype(str)
    raise ValueError(f"{path}: label has type {values.dtype}; expected whole numbers or names")


def _series(labels: numpy.ndarray, path: Path) -> polars.Series:
    """Return an array of numbers or text as polars has it."""
    if labels.dtype.kind in "US":
        try:
            return polars.Series(labels.astype(str))
        except ValueError:
            raise ValueError(f"{path}: labels are bytes that are no text; save names") from None
    return polars.Series(labels.astype(float) if labels.dtype.kind == "f" else labels)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def listed(names: Sequence[str]) -> str:
    """Write the first names of a list."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def first_line(error: BaseException) -> str:
    """Return the first line of a library's message."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    # numpy's own words for a file that it does not know as well; they advise to trust it.
    return "it is no such file, or holds Python objects" if "pickle" in line else line
