"""Rows of the retrieval tables from outcomes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy
import polars

from xferpipe.records import empty
from xferpipe.retrieval.outcomes import Outcome
from xferpipe.retrieval.ranked_lists import examples

_DEVIATIONS = ("rank1", "rank5", "map", "minp")


def mean_row(means: list[dict[str, float | int]]) -> dict[str, Any]:
    """Average the figures of several galleries, with their spread.

    Args:
        means: `QueryFigures.means()` of each gallery.
    Returns:
        The columns of table `retrieval` that are measured; counts are those of the first gallery.
    """
    row: dict[str, Any] = dict(means[0])
    for name in row.keys() - {"queries", "queries_without_positive"}:
        row[name] = statistics.fmean(found[name] for found in means)
    row["draws"] = len(means)
    if len(means) > 1:
        for name in _DEVIATIONS:
            row[f"{name}_deviation"] = statistics.stdev(found[name] for found in means)
    return row


def query_rows(
    outcome: Outcome,
    queries: polars.DataFrame,
    *,
    draw: int = 0,
    example_queries: int = 0,
    thumbnails: Mapping[int, bytes] | None = None,
) -> polars.DataFrame:
    """Return the rows of table `retrieval_queries`, without the columns of the run.

    Args:
        outcome: The ranking.
        queries: row, path, identity and camera of each query, in the order of the ranking.
        draw: Which random gallery it is.
        example_queries: Worst, median and best queries to mark, this many of each.
        thumbnails: Manifest row -> JPEG.
    """
    figures = outcome.figures
    shown = examples(figures, example_queries) if outcome.lists is not None else {}
    pictures = thumbnails or {}
    rows = queries["row"].to_list()
    return _table(
        "retrieval_queries",
        {
            "query": rows,
            "path": queries["path"],
            "identity": queries["identity"],
            "camera": queries["camera"],
            "ap": figures.ap,
            "inp": figures.inp,
            "first_hit": figures.first_hit,
            "positives": figures.positives,
            "junk": figures.junk,
            "example": [shown.get(at) for at in range(len(rows))],
            "thumbnail": [
                pictures.get(row) if at in shown else None for at, row in enumerate(rows)
            ],
        },
    ).with_columns(
        polars.lit(outcome.reranked).alias("reranked"),
        polars.lit(draw, dtype=polars.Int64).alias("draw"),
        polars.col("ap", "inp").fill_nan(None),
    )


def list_rows(
    outcome: Outcome,
    queries: polars.DataFrame,
    gallery: polars.DataFrame,
    *,
    example_queries: int = 0,
    thumbnails: Mapping[int, bytes] | None = None,
) -> polars.DataFrame:
    """Return the rows of table `ranked_lists`, without the columns of the run.

    Args:
        outcome: The ranking, with its lists.
        queries: row of each query.
        gallery: row and path of each gallery image.
        example_queries: As for `query_rows`: the lists of these queries get thumbnails.
        thumbnails: Manifest row -> JPEG.
    """
    lists = outcome.lists
    shown = examples(outcome.figures, example_queries)
    count, length = lists.gallery.shape
    at = polars.Series(lists.gallery.ravel())
    rows = gallery["row"].gather(at)
    pictures = thumbnails or {}
    by_query = numpy.repeat(numpy.arange(count), length).tolist()
    return _table(
        "ranked_lists",
        {
            "query": numpy.repeat(queries["row"].to_numpy(), length),
            "rank": numpy.tile(numpy.arange(1, length + 1), count),
            "gallery": rows,
            "path": gallery["path"].gather(at),
            "distance": lists.distance.ravel(),
            "match": lists.match.ravel(),
            "junk": lists.junk.ravel(),
            "thumbnail": [
                pictures.get(row) if query in shown else None
                for query, row in zip(by_query, rows.to_list(), strict=True)
            ],
        },
    ).with_columns(polars.lit(outcome.reranked).alias("reranked"))


def with_run(table: str, rows: polars.DataFrame, run: Mapping[str, Any]) -> polars.DataFrame:
    """Add the columns that name a run, and nulls for what the rows leave out."""
    rows = rows.with_columns(**{name: polars.lit(value) for name, value in run.items()})
    whole = polars.concat([empty(table), rows], how="diagonal_relaxed")
    return whole.select(empty(table).columns).cast(dict(empty(table).schema))


def _table(name: str, columns: dict[str, Any]) -> polars.DataFrame:
    schema = empty(name).schema
    return polars.DataFrame(
        {column: polars.Series(values, dtype=schema[column]) for column, values in columns.items()}
    )
