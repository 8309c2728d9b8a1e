"""What the rounds of a race decided, in words."""

from __future__ import annotations

from typing import Any

import polars


def decision_words(rows: polars.DataFrame, most: int | None = None) -> str:
    """Say which runs a round asked for, or why it ended the race.

    Args:
        rows: Rows of table `decisions` of one round.
        most: Runs that are named; of more, the number is told. None: all are named.
    """
    reason = rows["stopped"][0]
    if reason is not None:
        named = [f"{row['model']} with {row['recipe']}" for row in _chosen(rows, "named")]
        return f"the race ends, {reason}" + (f"; the best is {named[0]}" if named else "")
    asked = [
        f"{row['model']} with {row['recipe']}, seed {row['first_seed'] + i}"
        for row in _chosen(rows, "chosen")
        for i in range(row["chosen"])
    ]
    shown = asked[:most]
    more = len(asked) - len(shown)
    return "next " + "; ".join(shown) + (f"; and {more} more" if more else "")


def race_lines(decisions: polars.DataFrame) -> list[str]:
    """Tell a race round by round.

    Args:
        decisions: Rows of table `decisions` of one target and shots.
    """
    return [
        f"Round {number}: {decision_words(rows)}."
        for (number,), rows in decisions.sort("round", maintain_order=True).group_by(
            "round", maintain_order=True
        )
    ]


def _chosen(rows: polars.DataFrame, column: str) -> list[dict[str, Any]]:
    return [row for row in rows.iter_rows(named=True) if row[column]]
