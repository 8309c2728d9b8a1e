"""Files: `schemas.py` says what is in each table, `parquet.py` and `arrays.py` read them."""

from xferpipe.records.arrays import ArrayFileError, map_array
from xferpipe.records.parquet import (
    RecordError,
    atomic_path,
    empty,
    frame,
    load_table,
    read_table,
    version,
    write_table,
)
from xferpipe.records.schemas import TABLES, Column, markdown

__all__ = [
    "TABLES",
    "ArrayFileError",
    "Column",
    "RecordError",
    "atomic_path",
    "empty",
    "frame",
    "load_table",
    "map_array",
    "markdown",
    "read_table",
    "version",
    "write_table",
]
