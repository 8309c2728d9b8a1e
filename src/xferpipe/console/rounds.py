"""What a round of a race decided, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars

#: Runs that are named; of more, the number is told.
SHOWN = 2


def round_words(path: Path | str) -> str:
    """Say which runs a round asked for, or why it ended the race.

    Args:
        path: Table `decisions` of the round.
    Returns:
        A few words; none where the file cannot be read, which the jobs below it will tell.
    """
    from xferpipe.records import RecordError, read_table

    try:
        rows = read_table("decisions", path)
    except RecordError:
        return ""
    reason = rows["stopped"][0]
    if reason is not None:
        named = [f"{row['model']} with {row['recipe']}" for row in _chosen(rows, "named")]
        return f"the race ends, {reason}" + (f"; the best is {named[0]}" if named else "")
    asked = [
        f"{row['model']} with {row['recipe']}, seed {row['first_seed'] + i}"
        for row in _chosen(rows, "chosen")
        for i in range(row["chosen"])
    ]
    more = len(asked) - SHOWN
    return "next " + "; ".join(asked[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _chosen(rows: polars.DataFrame, column: str) -> list[dict[str, Any]]:
    return [row for row in rows.iter_rows(named=True) if row[column]]
