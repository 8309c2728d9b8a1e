"""Labels from files, and what files of features and of labels are read by."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy
import polars

from xferpipe.records import UNREADABLE

#: Kinds of files that hold labels alone.
LABEL_SUFFIXES = (".npy", ".txt", ".csv", ".parquet")


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
        lines = path.read_text(encoding="utf-8").splitlines()
        return classes_of(_numbers(polars.Series([line.strip() or None for line in lines])), path)
    if kind not in (".csv", ".parquet"):
        raise ValueError(
            f"{path}: expected labels in a file that ends in {', '.join(LABEL_SUFFIXES)}"
        )
    table = read_csv(path) if kind == ".csv" else read_parquet(path)
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
        return numpy.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
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


def read_csv(path: Path) -> polars.DataFrame:
    """Read a CSV file whose first line names the columns.

    Raises:
        ValueError: It cannot be read, or its first line holds numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = next(csv.reader(file), [])
        if head and all(map(_is_number, head)):
            raise ValueError(
                f"{path}: its first line holds numbers ({listed(head)}); expected the names of the "
                "columns, as label,f0,f1"
            )
        return polars.read_csv(path, glob=False, infer_schema_length=None)
    except (*UNREADABLE, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({first_line(error)})") from None


def classes_of(values: polars.Series | numpy.ndarray, path: Path) -> numpy.ndarray:
    """Return labels as integers or names (n); whole numbers written as floats are integers.

    Raises:
        ValueError: A label is missing, or is neither.
    """
    if isinstance(values, numpy.ndarray):
        if values.ndim != 1 or values.dtype.kind not in "fiubUS":
            raise ValueError(
                f"{path}: labels have shape {values.shape} and type {values.dtype}; expected one "
                "whole number or name a row"
            )
        values = polars.Series(values.astype(str) if values.dtype.kind in "US" else values)
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
        return values.cast(polars.Int64).to_numpy()
    if values.dtype in (polars.String, polars.Categorical, polars.Enum):
        return values.cast(polars.String).to_numpy().astype(str)
    raise ValueError(f"{path}: label has type {values.dtype}; expected whole numbers or names")


def _numbers(texts: polars.Series) -> polars.Series:
    """Return texts as numbers where all of them are."""
    texts = texts.cast(polars.String)
    numbers = texts.cast(polars.Float64, strict=False)
    return numbers if numbers.null_count() == texts.null_count() else texts


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def listed(names: list[str]) -> str:
    """Write the first names of a list."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def first_line(error: BaseException) -> str:
    """Return the first line of a library's message."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    # numpy's own words for a file that it does not know as well; they advise to trust it.
    return "it is no such file, or holds Python objects" if "pickle" in line else line
