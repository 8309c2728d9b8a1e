"""Comparing the tables of two runs: every value but times and what is weighed by them."""

from __future__ import annotations

from pathlib import Path

import polars

from xferpipe.records import TABLES, read_table

#: Units of what is measured while a job runs, and so differs between two runs of the same bits.
MEASURED = {"s", "ms", "1/s", "B"}
#: Tables of nothing but measured times.
MEASUREMENTS = {"runtime"}
#: Columns whose values are weighed by measured times.
WEIGHED_BY_TIME = {"answers": {"cheapest", "next"}}


def table(folder: Path, name: str) -> polars.DataFrame:
    """Read one result table without the columns that times move, in an order of its own."""
    left_out = WEIGHED_BY_TIME.get(name, set())
    kept = [
        column.name
        for column in TABLES[name]
        if column.unit not in MEASURED and column.name not in left_out
    ]
    data = read_table(name, folder / f"{name}.parquet").select(kept)
    return data.sort(kept, nulls_last=True)


def differences(expected: Path, found: Path) -> dict[str, str]:
    """Compare two folders of tables.

    Returns:
        What differs, by table: rows lost, rows duplicated or changed. Empty when all is equal.
    """
    names = {file.stem for file in expected.glob("*.parquet")} - MEASUREMENTS
    if not names:
        raise ValueError(f"{expected} holds no tables to compare with")
    found_names = {file.stem for file in found.glob("*.parquet")} - MEASUREMENTS
    result = dict.fromkeys(names - found_names, "the table is missing")
    result |= dict.fromkeys(found_names - names, "the table is extra")
    for name in sorted(names & found_names):
        left, right = table(expected, name), table(found, name)
        lost, extra = left.height - right.height, right.height - right.unique().height
        if not left.equals(right):
            result[name] = (
                f"{left.height} rows expected, {right.height} found (lost {max(lost, 0)}, "
                f"duplicated {extra}), or their values differ"
            )
    return result
