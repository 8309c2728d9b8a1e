"""Concatenate the tables of many jobs, one file after the other: memory does not grow with rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars
import pyarrow
import pyarrow.parquet

from xferpipe.records import TABLES, atomic_path, empty, read_table, version

#: Rows held before they are written; one Parquet row group each.
_ROWS = 100_000


def gather(
    table: str,
    paths: Sequence[Path],
    output: Path,
    study_hash: str,
    *,
    known: Mapping[str, Mapping[str, str | None]] | None = None,
) -> None:
    """Write the rows of many files as one table.

    Args:
        table: Name in `TABLES`.
        paths: Files of that table, in the order their rows are to have.
        output: Folder to write `<table>.parquet` to.
        study_hash: Hash of the study, stored in the file.
        known: Column -> model -> text, for texts that are shown and that no job may read.
    Raises:
        RecordError: A file is not this table.
    """
    metadata = {
        "xferpipe.table": table,
        "xferpipe.version": version(),
        "xferpipe.study": study_hash,
    }
    schema = _arrow(empty(table)).schema.with_metadata(metadata)
    with (
        atomic_path(output / f"{table}.parquet") as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        held: list[polars.DataFrame] = []
        rows = 0
        for path in paths:
            data = read_table(table, path, ours=True)
            for column, texts in (known or {}).items():
                text = polars.col("model").replace_strict(
                    list(texts), list(texts.values()), default=None, return_dtype=polars.String
                )
                data = data.with_columns(polars.coalesce(text, column).alias(column))
            held.append(data)
            rows += data.height
            if rows >= _ROWS:
                writer.write_table(_arrow(polars.concat(held)).cast(schema))
                held, rows = [], 0
        if held:
            writer.write_table(_arrow(polars.concat(held)).cast(schema))


def table_of(table: str, folder: Path) -> polars.LazyFrame:
    """Return a gathered table, read when it is collected and only as far as needed."""
    return polars.scan_parquet(folder / f"{table}.parquet", glob=False).select(
        [column.name for column in TABLES[table]]
    )


def _arrow(data: polars.DataFrame) -> pyarrow.Table:
    return data.to_arrow(compat_level=polars.CompatLevel.oldest())
