"""Reading a data set's manifest: one row an image."""

from __future__ import annotations

from pathlib import Path

import polars

from xferpipe.datasets import checks
from xferpipe.records import read_table


def read_manifest(path: Path) -> polars.DataFrame:
    """Read table `manifest` and check its rows again: a file can be edited between stages.

    Raises:
        RecordError: No such table.
        DatasetError: Its rows contradict each other.
    """
    rows = read_table("manifest", path)
    checks.check_rows(rows, where=str(path))
    return rows
