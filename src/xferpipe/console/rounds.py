"""What a round of a race decided, in a line."""

from __future__ import annotations

from pathlib import Path

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
    from xferpipe.report.race_words import decision_words

    try:
        rows = read_table("decisions", path)
    except RecordError:
        return ""
    return decision_words(rows, SHOWN)
