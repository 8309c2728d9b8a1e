"""One look for all commands: tables, JSON, progress. Results go to stdout, all else to stderr."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

#: Called with what is being done, steps done and steps in all (0 where nobody knows).
Progress = Callable[[str, int, int], None]
#: A task that ends sooner shows no progress.
QUIET_SECONDS = 2.0


def print_json(value: Any) -> None:
    """Print a value as JSON for a program; numbers that JSON has no word for become null."""
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, str | int | bool) or value is None:
        return value
    return str(value)


def cell(value: Any) -> str:
    """Write one value of a table for a person: four digits, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows in aligned columns, numbers to the right; the same text in a pipe as on a screen.

    Args:
        columns: Head of each column.
        rows: Values; any type.
    """
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    numbers = [
        bool(rows)
        and all(row[i] is None or isinstance(row[i], int | float) for row in rows)
        and not all(isinstance(row[i], bool) for row in rows)
        for i in range(len(columns))
    ]

    def line(words: Sequence[str]) -> str:
        parts = [
            word.rjust(width) if number else word.ljust(width)
            for word, width, number in zip(words, widths, numbers, strict=True)
        ]
        return "  ".join(parts).rstrip()

    head = line(columns)
    typer.echo(typer.style(head, bold=True) if sys.stdout.isatty() else head)
    for row in texts:
        typer.echo(line(row))


def say(text: str) -> None:
    """Tell a person something that is not the result; programs read stdout alone."""
    typer.echo(text, err=True)


def clear_line() -> None:
    """Take away what progress shows, so that a result that comes meanwhile has its own line."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


@contextmanager
def progress(words: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Show what is being done, how far it is and the time left: in a terminal, from two seconds on.

    Args:
        words: What is being done until somebody reports.
        quiet: Show nothing, as where a program reads the result.
    Yields:
        A function that takes what is being done, the steps done and the steps in all, 0 where
        nobody knows them. New words start a new count and a new estimate.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda words, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    bar = Bar(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TimeRemainingColumn(),
        # The file of now: what runs meanwhile may redirect sys.stderr for itself.
        console=Console(file=sys.stderr),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task(words, total=None, steps="", left="")
    last = words

    def report(words: str, done: int, total: int) -> None:
        nonlocal last
        if words != last:
            bar.reset(task, total=total or None, description=words, steps="", left="")
            last = words
        if total:
            bar.update(task, completed=done, total=total, steps=f"{done}/{total}", left="left")

    # By the clock and not by the first report: the first step may be a long one.
    start = threading.Timer(QUIET_SECONDS, bar.start)
    start.daemon = True
    start.start()
    try:
        yield report
    finally:
        start.cancel()
        start.join()
        if bar.live.is_started:
            bar.stop()
