"""Files of table `history` that come with the package."""

from __future__ import annotations

from pathlib import Path


def shipped() -> list[Path]:
    """Return the package's own files of table `history`, in the order of their names."""
    return sorted(Path(__file__).parents[1].joinpath("evidence", "histories").glob("*.parquet"))
