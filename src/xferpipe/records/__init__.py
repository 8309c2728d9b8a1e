"""Files: tables (`schemas.py`, `parquet.py`), arrays (`arrays.py`), tensors (`tensors.py`).

`stamp.py` says what every output carries of the job that wrote it.
"""

from xferpipe.records.arrays import ArrayFileError, map_array
from xferpipe.records.parquet import (
    UNREADABLE,
    RecordError,
    atomic_path,
    check_digest,
    empty,
    frame,
    load_table,
    read_table,
    table_writer,
    version,
    write_table,
)
from xferpipe.records.schemas import RESULT_TABLES, TABLES, Column, markdown, result_files
from xferpipe.records.tensors import read_metadata, read_tensors

__all__ = [
    "RESULT_TABLES",
    "TABLES",
    "UNREADABLE",
    "ArrayFileError",
    "Column",
    "RecordError",
    "atomic_path",
    "check_digest",
    "empty",
    "frame",
    "load_table",
    "map_array",
    "markdown",
    "read_metadata",
    "read_table",
    "read_tensors",
    "result_files",
    "table_writer",
    "version",
    "write_table",
]
