"""Tables that people write: text with commas, semicolons, tabs or bars between the columns.

What is not one thing alone is refused here, so that no reader guesses: two columns of one name,
text that is not UTF-8, a first line without names.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import polars

from xferpipe.records.parquet import UNREADABLE

#: What may stand between two columns; of equals the first.
SEPARATORS = (",", ";", "\t", "|")
#: Bytes that the names of the columns are looked for in.
_HEAD_BYTES = 1 << 22
#: Letters of a column's name; where a quote is left open, the whole table would be one.
_LONGEST = 200
#: A first line that spreadsheets write to name the separator.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n')
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AS_UTF8 = 'save it as UTF-8 (in Excel: "CSV UTF-8")'


class DelimitedFileError(ValueError):
    """A text file is no table; the message says how, and not which file."""


class Form(NamedTuple):
    """How the columns of a text file are separated and called.

    Attributes:
        separator: One character.
        raw: Names of the columns as they are written.
        names: Names of the columns, without the spaces around them; empty where one has none.
        skipped: Lines before the names.
    """

    separator: str
    raw: tuple[str, ...]
    names: tuple[str, ...]
    skipped: int

    def padded(self) -> set[str]:
        """Return the names that have spaces around them."""
        return {name for raw, name in zip(self.raw, self.names, strict=True) if raw != name}


def form_of(path: Path, known: Collection[str] = ()) -> Form:
    """Read from the first line how the columns of a text file are separated and called.

    Args:
        path: The file, with or without a byte-order mark.
        known: Names that are expected; the separator that gives most of them is taken, then the
            one that gives most columns.
    Raises:
        DelimitedFileError: It is empty or no UTF-8 text, its first line is empty, or two of its
            columns have one name.
        OSError: It cannot be read.
    """
    text = _head(path)
    found = _SEPARATOR_LINE.match(text)
    text = text[found.end() :] if found else text
    if not text.strip():
        raise DelimitedFileError("empty CSV: not even a line with the names of the columns")
    rows = {separator: _first(text, separator) for separator in SEPARATORS}
    if found:
        separator = found[1]
        rows = {separator: _first(text, separator)}
    expected = {name.lower() for name in known}

    def fit(separator: str) -> tuple[int, int]:
        names = {name.strip().lower() for name in rows[separator]}
        return len(names & expected), len(rows[separator])

    separator = max(rows, key=fit)
    raw = rows[separator]
    names = tuple(name.strip() for name in raw)
    if not any(names):
        raise DelimitedFileError("its first line is empty; expected the names of the columns")
    for i, name in enumerate(names):
        if len(name.splitlines()) > 1 or len(name) > _LONGEST:
            raise DelimitedFileError(
                f"column {i + 1} has a name of {len(name.splitlines())} lines and {len(name)} "
                f"letters ({name[:20]!r} ...); is a quote left open? Write names in one "
                f"line, of at most {_LONGEST} letters"
            )
        if name and name in names[:i]:
            raise DelimitedFileError(
                f"two columns are called {name!r} ({names.index(name) + 1} and {i + 1}); give each "
                "a name of its own, or take one out"
            )
    return Form(separator, tuple(raw), names, 1 if found else 0)


def _head(path: Path) -> str:
    """Return the beginning of a file as text."""
    with path.open("rb") as file:
        content = file.read(_HEAD_BYTES)
    if content.startswith(_UTF16):
        raise DelimitedFileError(f"it is UTF-16 text; {_AS_UTF8}")
    if b"\0" in content:
        raise DelimitedFileError("it is no text; expected lines of values with commas between them")
    try:
        # Not to the end: the last character may be cut in two.
        return codecs.getincrementaldecoder("utf-8-sig")().decode(content)
    except UnicodeDecodeError:
        raise DelimitedFileError(f"it is no UTF-8 text; {_AS_UTF8}") from None


def _first(text: str, separator: str) -> list[str]:
    """Return the values of the first line, which may lie in quotes."""
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error as error:
        raise DelimitedFileError(f"its first line cannot be read ({error})") from None


def read_delimited(
    path: Path,
    form: Form,
    *,
    only: Collection[str] | None = None,
    texts: Collection[str] | None = (),
) -> polars.DataFrame:
    """Read a text file as a table.

    Args:
        path: The file.
        form: How its columns are separated and called. Between semicolons, a comma may stand in
            numbers for the point.
        only: Columns to read, by their names here; None: all.
        texts: Columns that stay as they are written, so that 01 is not 1; None: all of them.
    Returns:
        The table; columns without a name are called `column_<number>`, counted from 1. Text has no
        spaces around it where the name of its column has.
    Raises:
        DelimitedFileError: A row has more values than there are names, or it is no UTF-8 text.
        OSError: It cannot be read.
    """
    names = [name or f"column_{i}" for i, name in enumerate(form.names, start=1)]
    taken = [i for i, name in enumerate(names) if only is None or name in only]
    if not taken:
        return polars.DataFrame()
    typed = {
        raw: polars.String
        for raw, name in zip(form.raw, names, strict=True)
        if name in (texts or ())
    }
    try:
        table = polars.read_csv(
            path,
            glob=False,
            separator=form.separator,
            skip_rows=form.skipped,
            schema_overrides=typed,
            columns=taken,
            infer_schema=texts is not None,
            infer_schema_length=None,
            decimal_comma=form.separator == ";",
        )
    except UNREADABLE as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        if "utf-8" in line.lower() or "utf8" in line.lower():
            raise DelimitedFileError(f"it is no UTF-8 text; {_AS_UTF8}") from None
        raise DelimitedFileError(line) from None
    if table.width != len(taken):
        raise DelimitedFileError(
            f"its first line has {len(taken)} names of {table.width} columns; is a quote missing?"
        )
    # The names of the file may have spaces around them, or be none.
    table.columns = [names[i] for i in taken]
    padded = form.padded()
    return table.with_columns(
        column.str.strip_chars()
        for column in table
        if column.name in padded and column.dtype == polars.String
    )
