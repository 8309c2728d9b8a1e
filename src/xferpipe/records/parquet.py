"""Reading and writing of tables: atomic, checked against the schema, with their provenance."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import polars
import pyarrow
import pyarrow.parquet

from xferpipe.records.schemas import TABLES
from xferpipe.records.stamp import metadata_of_job

#: What polars answers a file with that it cannot read. A damaged one makes its Rust panic, and that
#: is no Exception.
UNREADABLE = (OSError, polars.exceptions.PolarsError, polars.exceptions.PanicException)


class RecordError(ValueError):
    """A file of the workflow is damaged, or does not hold what is to be read from it."""


def empty(table: str) -> polars.DataFrame:
    """Return a table with its columns and no rows."""
    return polars.DataFrame(schema={column.name: column.type for column in TABLES[table]})


def frame(table: str, rows: list[Mapping[str, Any]]) -> polars.DataFrame:
    """Build a table from rows; columns that a row leaves out are null.

    Raises:
        RecordError: A row has a column that the schema does not know, or a value of another type.
    """
    schema = {column.name: column.type for column in TABLES[table]}
    for row in rows:
        if unknown := set(row) - set(schema):
            raise RecordError(
                f"table {table}: unknown columns {sorted(unknown)}; see records/schemas.py"
            )
    try:
        return polars.DataFrame(
            [{name: row.get(name) for name in schema} for row in rows], schema=schema, strict=True
        )
    except (TypeError, polars.exceptions.PolarsError) as error:
        raise RecordError(f"table {table}: {error}") from None


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path` that is renamed to it when the block succeeds.

    A job killed in between leaves nothing that looks finished; a failed one leaves nothing at all.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(table: str, data: polars.DataFrame, path: Path | str) -> None:
    """Check a table against its schema and write it atomically, with the running job's stamp.

    Args:
        table: Name in `TABLES`.
        data: Rows; column order does not matter.
        path: Parquet file to write.
    Raises:
        RecordError: A column is missing, unknown or of another type.
    """
    schema = {column.name: column.type for column in TABLES[table]}
    if set(data.columns) != set(schema):
        raise RecordError(
            f"table {table}: missing columns {sorted(set(schema) - set(data.columns))}, "
            f"unknown columns {sorted(set(data.columns) - set(schema))}"
        )
    for name, type_ in schema.items():
        if data.schema[name] != type_:
            raise RecordError(
                f"table {table}, column {name}: has type {data.schema[name]}, expected {type_}"
            )
    with table_writer(table, path) as write:
        write(data.select(list(schema)))


@contextmanager
def table_writer(table: str, path: Path | str) -> Iterator[Callable[[polars.DataFrame], None]]:
    """Write a table part by part: memory does not grow with its rows.

    Args:
        table: Name in `TABLES`.
        path: Parquet file; it appears when the block ends without an error.
    Yields:
        A function that writes further rows, one row group each.
    """
    schema = _arrow(empty(table)).schema.remove_metadata()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        hashed = _HashingFile(file)
        with pyarrow.parquet.ParquetWriter(hashed, schema, compression="zstd") as writer:

            def write(data: polars.DataFrame) -> None:
                writer.write_table(_arrow(data).cast(schema))

            yield write
            # In the footer and not in the schema, so that a program that rewrites the table drops
            # it: what somebody else wrote must not carry the key of a job.
            writer.add_key_value_metadata(
                {
                    "xferpipe.table": table,
                    "xferpipe.version": version(),
                    "xferpipe.digest": hashed.digest(),
                    **metadata_of_job(),
                }
            )


class _HashingFile(io.RawIOBase):
    """Passes on what is written, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def digest(self) -> str:
        """Return the hash of all bytes up to here: the rows, without the footer."""
        return self._hash.hexdigest()


def _arrow(data: polars.DataFrame) -> pyarrow.Table:
    return data.to_arrow(compat_level=polars.CompatLevel.oldest())


def _digest(path: Path | str) -> str:
    """Hash a table's file up to its footer, which is where the digest itself stands."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        file.seek(-8, os.SEEK_END)
        footer = int.from_bytes(file.read(4), "little") + 8
        left = file.seek(-footer, os.SEEK_END)
        file.seek(0)
        while left and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def read_table(table: str, path: Path | str, *, ours: bool = False) -> polars.DataFrame:
    """Read a table and check it against its schema.

    Args:
        table: Name in `TABLES`.
        path: Parquet file.
        ours: Only take a file whose values are those that `write_table` wrote.
    Raises:
        RecordError: The file is no Parquet table, not this one, or was edited by hand.
    """
    schema = {column.name: column.type for column in TABLES[table]}
    try:
        data = polars.read_parquet(path, glob=False)
    except FileNotFoundError:
        raise RecordError(f"{path}: no such table; run the rule that writes it") from None
    except UNREADABLE as error:
        raise RecordError(
            f"{path}: cannot be read as Parquet ({error}); delete it to rebuild it"
        ) from None
    if dict(data.schema) != schema:
        raise RecordError(
            f"{path}: expected table {table} with columns {', '.join(schema)}, "
            f"found {', '.join(data.columns)}; another version wrote it: delete it to rebuild it"
        )
    if ours:
        check_digest(path)
    return data


def check_digest(path: Path | str) -> None:
    """Refuse a table whose values are not those that `write_table` wrote.

    Raises:
        RecordError: It was edited by hand, or another program wrote it.
    """
    metadata = pyarrow.parquet.read_metadata(path).metadata or {}
    if metadata.get(b"xferpipe.digest", b"").decode() != _digest(path):
        raise RecordError(
            f"{path}: its values are not those that the workflow wrote, so it was edited by "
            "hand; delete it and run the workflow again to rebuild it"
        )


def load_table(table: str, folder: Path | str) -> polars.DataFrame:
    """Read a result table of a finished study, as in a notebook.

    Args:
        table: Name in `TABLES`, such as `finetunes` or `selection`.
        folder: Folder of the tables: `results/<study>/tables`.
    Returns:
        The table; `TABLES[table]` says what each column means.
    Raises:
        RecordError: No such table, or not written yet.
    """
    if table not in TABLES:
        raise RecordError(f"there is no table {table!r}; allowed: {', '.join(TABLES)}")
    return read_table(table, Path(folder) / f"{table}.parquet")


def version() -> str:
    """Return the installed package's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("xferpipe")
    except PackageNotFoundError:
        return "unknown"
