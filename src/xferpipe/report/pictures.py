"""Ranked lists with their pictures, small enough to travel inside the page."""

from __future__ import annotations

from dataclasses import dataclass

import polars

from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes
from xferpipe.report.target_images import jpeg_source

#: Queries shown for a target.
QUERIES_SHOWN = 9


@dataclass(frozen=True)
class Result:
    """One picture of a list; `source` is a data URI, or empty where the file is not at hand."""

    title: str
    kind: str
    source: str
    rank: int = 0


@dataclass(frozen=True)
class RankedList:
    """A query and its first results."""

    place: str
    heading: str
    query: Result
    results: tuple[Result, ...]


def ranked_lists(evidence: Evidence) -> list[RankedList]:
    """Return the worst, middle and best queries of each target under the model to choose.

    Args:
        evidence: The study's tables.
    Returns:
        At most `QUERIES_SHOWN` lists for each place, worst average precision first.
    """
    table = outcomes(evidence).filter("first")
    chosen = table.filter(polars.col("metric") == "map").unique(
        ["target", "shots"], maintain_order=True
    )
    lists = []
    for run in chosen.iter_rows(named=True):
        here = polars.lit(True)
        for name in ("target", "shots", "model", "recipe"):
            here &= polars.col(name) == run[name]
        here &= ~polars.col("reranked")
        queries = evidence["retrieval_queries"].filter(here & polars.col("ap").is_not_null())
        rows = evidence["ranked_lists"].filter(here)
        if queries.is_empty() or rows.is_empty():
            continue
        seed = queries["seed"].min()
        queries = queries.filter((polars.col("seed") == seed) & (polars.col("draw") == 0))
        queries = queries.sort("ap", "query")
        rows = rows.filter(polars.col("seed") == seed)
        for query in _spread(queries).iter_rows(named=True):
            results = rows.filter(polars.col("query") == query["query"]).sort("rank")
            lists.append(_list(run, query, results))
    return lists


def _spread(queries: polars.DataFrame) -> polars.DataFrame:
    """Take the queries that the retrieval stage chose to show, else some from worst to best."""
    chosen = queries.filter(polars.col("example").is_not_null())
    if chosen.height:
        return chosen.head(QUERIES_SHOWN)
    count = min(QUERIES_SHOWN, queries.height)
    last = queries.height - 1
    places = [round(i * last / max(count - 1, 1)) for i in range(count)]
    return queries[sorted(set(places))]


def _list(run: dict, query: dict, results: polars.DataFrame) -> RankedList:
    return RankedList(
        place=run["place"],
        heading=" · ".join(filter(None, (query["example"], f"AP {query['ap']:.3f}"))),
        query=Result(_title(query["path"], "query"), "query", _source(query["thumbnail"])),
        results=tuple(
            Result(
                _title(row["path"], f"rank {row['rank']}, distance {row['distance']:.3f}"),
                "junk" if row["junk"] else "right" if row["match"] else "wrong",
                _source(row["thumbnail"]),
                row["rank"],
            )
            for row in results.iter_rows(named=True)
        ),
    )


def _title(path: str | None, words: str) -> str:
    return f"{path or 'image'}: {words}"


def _source(jpeg: bytes | None) -> str:
    return "" if jpeg is None else jpeg_source(jpeg)
