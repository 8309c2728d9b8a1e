"""Times that stay: a job that runs once more keeps the seconds of its first completion.

What a race decided rests on the times of its runs. Weights that were deleted and made again, with
the same key, must not change them.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars

from xferpipe.graph.snapshot import OWN
from xferpipe.records import atomic_path, read_table, write_table


def keep_first_seconds(table: str, path: Path, key: str, results: Path) -> None:
    """Give rows that a job has just written the seconds of the first job with the same key.

    Called before the rows are put in place, so that no other seconds are ever seen of a key.

    Args:
        table: Table of the rows; it has a column `seconds`.
        path: The job's file; written again where it was not the first.
        key: Key of the job.
        results: Folder of the study's results, which the first seconds are kept below.
    """
    place = results / OWN / "seconds" / f"{key}.json"
    rows = read_table(table, path)
    first = _noted(place)
    if first is None or len(first) != len(rows):
        with atomic_path(place) as temporary:
            temporary.write_text(json.dumps(rows["seconds"].to_list()))
    elif first != rows["seconds"].to_list():
        write_table(table, rows.with_columns(polars.Series("seconds", first)), path)


def _noted(place: Path) -> list[float] | None:
    """Return the seconds that were kept; None where there are none, or the note is damaged."""
    try:
        first = json.loads(place.read_text())
    except (OSError, ValueError):
        return None
    numbers = isinstance(first, list) and all(isinstance(value, float) for value in first)
    return first if numbers else None
