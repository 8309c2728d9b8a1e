"""Concatenate the tables of many jobs, one file after the other: memory does not grow with rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars

from xferpipe.records import TABLES, read_table, table_writer

#: Rows held before they are written; one Parquet row group each.
_ROWS = 100_000


def gather(
    table: str,
    paths: Sequence[Path],
    output: Path,
    *,
    known: Mapping[str, Mapping[str, str | None]] = {},
) -> None:
    """Write the rows of many files as one table.

    Args:
        table: Name in `TABLES`.
        paths: Files of that table, in the order their rows are to have.
        output: Written: the table.
        known: Column -> model -> text, for texts that are shown and that no job may read.
    Raises:
        RecordError: A file is not this table.
    """
    with table_writer(table, output) as write:
        held: list[polars.DataFrame] = []
        rows = 0
        for path in paths:
            data = read_table(table, path, ours=True)
            for column, texts in known.items():
                text = polars.col("model").replace_strict(
                    list(texts), list(texts.values()), default=None, return_dtype=polars.String
                )
                data = data.with_columns(polars.coalesce(text, column).alias(column))
            held.append(data)
            rows += data.height
            if rows >= _ROWS:
                write(polars.concat(held))
                held, rows = [], 0
        if held:
            write(polars.concat(held))


def table_of(table: str, folder: Path) -> polars.LazyFrame:
    """Return a gathered table, read when it is collected and only as far as needed."""
    return polars.scan_parquet(folder / f"{table}.parquet", glob=False).select(
        [column.name for column in TABLES[table]]
    )
