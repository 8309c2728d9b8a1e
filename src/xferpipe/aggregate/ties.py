"""Figures that differ by rounding alone are equal: they say nothing of which model is better."""

from __future__ import annotations

import numpy
import polars

from xferpipe.config.scores import PRECISION


def merged(values: numpy.ndarray) -> numpy.ndarray:
    """Give figures within rounding of each other one value.

    Args:
        values: Figures of models, float (m); NaN and infinities stay.
    Returns:
        Float (m): each figure, or the lowest of those that follow each other within `PRECISION`.
    """
    found = numpy.array(values, dtype=float)
    finite = numpy.flatnonzero(numpy.isfinite(found))
    if len(finite):
        order = finite[numpy.argsort(found[finite], kind="stable")]
        ordered = found[order]
        new = numpy.diff(ordered, prepend=-numpy.inf) > PRECISION * numpy.abs(ordered).max()
        found[order] = ordered[new][numpy.cumsum(new) - 1]
    return found


def merge_ties(table: polars.DataFrame, column: str, groups: list[str]) -> polars.DataFrame:
    """Apply `merged` to a column within groups; null stays null."""

    def of_group(values: polars.Series) -> polars.Series:
        found = polars.Series(merged(values.cast(polars.Float64).fill_null(numpy.nan).to_numpy()))
        return found.set(values.is_null(), None)

    return table.with_columns(
        polars.col(column).map_batches(of_group, return_dtype=polars.Float64).over(groups)
    )
