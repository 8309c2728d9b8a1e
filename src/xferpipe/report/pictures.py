"""Ranked lists with their pictures, small enough to travel inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import polars

from xferpipe.report.evidence import Evidence
from xferpipe.report.outcomes import outcomes

#: Longer side in pixels of a picture in the page, and how many queries are shown for a target.
THUMBNAIL_PX = 72
QUERIES_SHOWN = 6


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
        evidence: The study's tables; `pictures` says where a target's image files are.
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
        queries = queries.filter(polars.col("seed") == seed).sort("ap", "query")
        rows = rows.filter(polars.col("seed") == seed)
        root = evidence.pictures.get(run["target"])
        for query in _spread(queries).iter_rows(named=True):
            results = rows.filter(polars.col("query") == query["query"]).sort("rank")
            lists.append(_list(run, query, results, root))
    return lists


def _spread(queries: polars.DataFrame) -> polars.DataFrame:
    """Pick queries evenly from the worst to the best."""
    count = min(QUERIES_SHOWN, queries.height)
    last = queries.height - 1
    places = [round(i * last / max(count - 1, 1)) for i in range(count)]
    return queries[sorted(set(places))]


def _list(run: dict, query: dict, results: polars.DataFrame, root: Path | None) -> RankedList:
    return RankedList(
        place=run["place"],
        heading=f"AP {query['ap']:.3f}",
        query=Result(_title(query["path"], "query"), "query", thumbnail(root, query["path"])),
        results=tuple(
            Result(
                _title(row["path"], f"rank {row['rank']}, distance {row['distance']:.3f}"),
                "junk" if row["junk"] else "right" if row["match"] else "wrong",
                thumbnail(root, row["path"]),
                row["rank"],
            )
            for row in results.iter_rows(named=True)
        ),
    )


def _title(path: str | None, words: str) -> str:
    return f"{path or 'image'}: {words}"


def thumbnail(root: Path | None, path: str | None) -> str:
    """Return a small JPEG of an image file as a data URI; empty where there is no such file.

    Args:
        root: Folder that `path` starts from; None where no folder is known.
        path: File below `root`. One that leads out of it is treated as absent.
    """
    if root is None or path is None:
        return ""
    from PIL import Image, UnidentifiedImageError

    file = (Path(root) / path).resolve()
    if not file.is_relative_to(Path(root).resolve()) or not file.is_file():
        return ""
    try:
        with Image.open(file) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    except (OSError, UnidentifiedImageError):
        return ""
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
