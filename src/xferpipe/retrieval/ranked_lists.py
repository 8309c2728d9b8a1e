"""Ranked lists: the nearest gallery images of each query, and which queries are worth a look."""

from __future__ import annotations

from typing import NamedTuple

import numpy

from xferpipe import ops
from xferpipe.retrieval.comparison import Comparison, Progress, told
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.query_figures import QueryFigures

EXAMPLES = ("worst", "median", "best")


class RankedLists(NamedTuple):
    """The first k gallery images of each query; junk keeps its place.

    Attributes:
        gallery: Gallery rows, int64 (q, k).
        distance: float64 (q, k), ascending.
        match: Same identity, bool (q, k).
        junk: Left out of the figures, bool (q, k).
    """

    gallery: numpy.ndarray
    distance: numpy.ndarray
    match: numpy.ndarray
    junk: numpy.ndarray


def ranked_lists(
    comparison: Comparison, labels: Labels, k: int, *, progress: Progress | None = None
) -> RankedLists:
    """List the k nearest gallery images of each query; fewer where the gallery has fewer."""
    distances, rows = ops.nearest(
        comparison.query,
        comparison.gallery,
        k,
        distance=comparison.distance,
        progress=told(progress, "listing"),
    )
    return judged(rows.numpy(), comparison.reported(distances.double()).numpy(), labels)


def judged(rows: numpy.ndarray, distances: numpy.ndarray, labels: Labels) -> RankedLists:
    """Say of ranked gallery rows (q, k) which match and which are junk."""
    match = labels.gallery_identity[rows] == labels.query_identity[:, None]
    if labels.junk_rule == "index_lists":
        junk = numpy.stack([numpy.isin(*pair) for pair in zip(rows, labels.junk, strict=True)])
    elif labels.junk_rule == "none":
        junk = numpy.zeros_like(match)
    else:
        query, gallery = labels.groups()
        junk = match & (gallery[rows] == query[:, None])
    return RankedLists(rows, distances, match, junk)


def examples(figures: QueryFigures, each: int) -> dict[int, str]:
    """Choose queries to show: the worst, median and best by average precision.

    Args:
        figures: Figures of all queries; those without a positive are never shown.
        each: Queries of each kind; a query is shown once.
    Returns:
        Query row -> "worst", "median" or "best", in that order and ascending precision.
    """
    scored = numpy.flatnonzero(figures.positives > 0)
    order = scored[numpy.argsort(figures.ap[scored], kind="stable")]
    middle = max(0, (len(order) - each) // 2)
    parts = (order[:each], order[middle : middle + each], order[max(0, len(order) - each) :])
    chosen: dict[int, str] = {}
    for name, rows in zip(EXAMPLES, parts, strict=True):
        for row in rows.tolist():
            chosen.setdefault(row, name)
    return chosen
