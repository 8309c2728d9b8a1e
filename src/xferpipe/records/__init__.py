"""The tables: `schemas.py` says what is in each, `parquet.py` reads and writes them.

`stamp.py` says what every output carries of the job that wrote it.
"""

from xferpipe.records.parquet import (
    RecordError,
    atomic_path,
    empty,
    frame,
    load_table,
    read_table,
    table_writer,
    version,
    write_table,
)
from xferpipe.records.schemas import TABLES, Column, markdown

__all__ = [
    "TABLES",
    "Column",
    "RecordError",
    "atomic_path",
    "empty",
    "frame",
    "load_table",
    "markdown",
    "read_table",
    "table_writer",
    "version",
    "write_table",
]
