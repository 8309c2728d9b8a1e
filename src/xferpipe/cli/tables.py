"""`xferpipe tables`: which result tables there are, what is in them, and their rows as CSV."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.folders import tables_folder
from xferpipe.cli.options import AsJson, Results
from xferpipe.config.nearest import suggestion

if TYPE_CHECKING:
    import polars

tables = typer.Typer(
    help="List, explain, show and export the result tables.",
    no_args_is_help=True,
    epilog="Example: xferpipe tables head selection --rows 5",
)

Table = Annotated[str, typer.Argument(metavar="TABLE", help="Name of a table; see `tables list`.")]

#: Rows of a table that are written between two reports of progress.
_ROWS_AT_ONCE = 50_000


@tables.command("list")
def list_(results: Results = None, as_json: AsJson = False) -> None:
    """List the tables of a study: rows, size, and what each holds.

    Example: xferpipe tables list --results results/digits
    """
    import pyarrow.parquet

    from xferpipe.records import TABLES

    folder = tables_folder(results)
    found = []
    for name, columns in TABLES.items():
        path = folder / f"{name}.parquet"
        if not path.is_file():
            continue
        try:
            rows = pyarrow.parquet.read_metadata(path).num_rows
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{path}: cannot be read as Parquet ({error})") from None
        found.append(
            {"table": name, "rows": rows, "columns": len(columns), "bytes": path.stat().st_size}
        )
    if not found:
        raise ValueError(f"{folder} holds Parquet files, but no table of a study by its name")
    if as_json:
        look.print_json(found)
    else:
        look.print_table(list(found[0]), [list(row.values()) for row in found])


@tables.command()
def schema(table: Table, as_json: AsJson = False) -> None:
    """Explain the columns of a table: type, unit and meaning.

    Example: xferpipe tables schema selection
    """
    columns = [
        {
            "column": column.name,
            "type": str(column.type),
            "unit": column.unit,
            "meaning": column.meaning,
        }
        for column in _columns(table)
    ]
    if as_json:
        look.print_json(columns)
    else:
        look.print_table(list(columns[0]), [list(column.values()) for column in columns])


@tables.command()
def head(
    table: Table,
    results: Results = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Rows to show.")] = 10,
    columns: Annotated[
        str | None, typer.Option(help="Columns to show, with commas; unset: those that fit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the first rows of a table.

    Example: xferpipe tables head selection --columns target,method,spearman --rows 5
    """
    with look.progress(f"reading {table}", quiet=as_json):
        data = _read(table, results)
    names = _chosen(data.columns, columns)
    part = data.select(names).head(rows)
    if as_json:
        look.print_json(part.to_dicts())
        return
    if columns is None:
        names = _fitting(part)
        part = part.select(names)
    look.print_table(names, part.rows())
    hidden = len(data.columns) - len(names)
    left = f"; {hidden} more columns: --columns, or --json for all" if hidden else ""
    look.say(f"{part.height} of {data.height} rows{left}")


@tables.command()
def export(
    table: Table,
    results: Results = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV file; unset: standard output.")
    ] = None,
) -> None:
    """Write a table as CSV; pictures (binary columns) are left out.

    Example: xferpipe tables export finetunes --output finetunes.csv
    """
    import polars

    from xferpipe.records import atomic_path

    if output is not None and output.is_dir():
        raise ValueError(f"--output {output} is a folder; give a file")
    # On a screen that the rows themselves fill, a bar would be in their way.
    with look.progress(f"reading {table}", quiet=output is None and sys.stdout.isatty()) as report:
        data = _read(table, results)
        data = data.drop(name for name, kind in data.schema.items() if kind == polars.Binary)
        if output is None:
            for part in _csv(data, report):
                typer.echo(part, nl=False)
            return
        with atomic_path(output) as temporary, temporary.open("w") as file:
            file.writelines(_csv(data, report))
    look.say(f"{data.height} rows written to {output}")


def _csv(data: polars.DataFrame, report: look.Progress) -> Iterator[str]:
    """Yield a table as CSV, so many rows at a time."""
    yield data.head(0).write_csv()
    for first in range(0, data.height, _ROWS_AT_ONCE):
        report("writing", first, data.height)
        yield data.slice(first, _ROWS_AT_ONCE).write_csv(include_header=False)


def _columns(table: str) -> tuple:
    from xferpipe.records import TABLES

    if table not in TABLES:
        near = suggestion(table, TABLES)
        raise ValueError(f"there is no table {table!r}{near}; allowed: {', '.join(TABLES)}")
    return TABLES[table]


def _read(table: str, results: Path | None) -> polars.DataFrame:
    from xferpipe.records import load_table

    _columns(table)  # A name that no study has is said first.
    return load_table(table, tables_folder(results))


def _chosen(known: list[str], columns: str | None) -> list[str]:
    if columns is None:
        return known
    names = [name.strip() for name in columns.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        near = suggestion(unknown[0], known)
        raise ValueError(f"no column {', '.join(unknown)}{near}; allowed: {', '.join(known)}")
    return names


def _fitting(part: polars.DataFrame) -> list[str]:
    """Take columns from the left as long as they fit the terminal; empty ones are passed over."""
    import shutil

    width = shutil.get_terminal_size((120, 24)).columns
    names, used = [], 0
    for name in part.columns:
        if part.height and part[name].null_count() == part.height:
            continue
        need = max([len(name), *(len(look.cell(value)) for value in part[name])]) + 2
        if names and used + need > width:
            break
        names.append(name)
        used += need
    return names
