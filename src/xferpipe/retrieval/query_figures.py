"""Figures of a ranking: one row per query, and the means over queries."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy

from xferpipe import ops
from xferpipe.retrieval.comparison import Comparison, Progress, told
from xferpipe.retrieval.labels import Labels

_logger = logging.getLogger(__name__)

RANKS = (1, 5, 10, 20)


@dataclass(frozen=True)
class QueryFigures:
    """One value per query.

    Attributes:
        ap: Average precision, float64 (q); NaN without a positive.
        inp: Inverse negative penalty, float64 (q); NaN without a positive.
        first_hit: 1-based rank of the first hit, int64 (q); 0 without one.
        positives: Gallery rows that count as hits, int64 (q).
        junk: Gallery rows left out, int64 (q).
        settled: Queries ranked again in float64, whose order float32 cannot tell.
    """

    ap: numpy.ndarray
    inp: numpy.ndarray
    first_hit: numpy.ndarray
    positives: numpy.ndarray
    junk: numpy.ndarray
    settled: int = 0

    def means(self) -> dict[str, float | int]:
        """Return CMC at 1, 5, 10 and 20, mAP and mINP over queries with a positive, and counts."""
        counted = self.positives > 0
        hits = self.first_hit[counted]
        return {
            **{f"rank{k}": float((hits <= k).mean()) for k in RANKS},
            "map": float(self.ap[counted].mean()),
            "minp": float(self.inp[counted].mean()),
            "queries": int(counted.sum()),
            "queries_without_positive": int((~counted).sum()),
        }


def rank(
    comparison: Comparison,
    labels: Labels,
    *,
    ap_kind: str = "step",
    progress: Progress | None = None,
) -> QueryFigures:
    """Rank the gallery for each query and score the ranking.

    Args:
        comparison: Query and gallery features.
        labels: Their identities, cameras and junk rule.
        ap_kind: "step" or "trapezoid".
        progress: Called as blocks of the gallery are done.
    Raises:
        ValueError: No query has a positive, or what `ops.rank_metrics` raises.
    """

    positives, junk = check_positives(labels)
    rows = numpy.flatnonzero(positives)
    query = comparison.query
    found = ops.rank_metrics(
        query if len(rows) == len(query) else query[rows],
        comparison.gallery,
        **labels.queries(rows).as_arguments(),
        distance=comparison.distance,
        ap_kind=ap_kind,
        progress=told(progress, "ranking"),
    )
    figures = QueryFigures(
        ap=numpy.full(len(positives), numpy.nan),
        inp=numpy.full(len(positives), numpy.nan),
        first_hit=numpy.zeros(len(positives), dtype=numpy.int64),
        positives=positives,
        junk=junk,
        settled=int(found.settled.sum()),
    )
    if figures.settled:
        _logger.info("%s", _settled_words(figures))
    figures.ap[rows] = found.ap.numpy()
    figures.inp[rows] = found.inp.numpy()
    figures.first_hit[rows] = found.first_hit.numpy()
    return figures


def _settled_words(figures: QueryFigures) -> str:
    """Say how many queries float64 has ranked."""
    return (
        f"{figures.settled} of {len(figures.ap)} queries were ranked again in float64: gallery "
        "images lie closer to a hit than float32 products can tell"
    )


def check_positives(labels: Labels) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Count positives and junk of each query, int64 (q) each.

    Raises:
        ValueError: No query has a positive; says which rule removed them.
    """
    positives, junk = labels.counts()
    if not positives.any():
        raise ValueError(_no_positive(labels, junk))
    return positives, junk


def _no_positive(labels: Labels, junk: numpy.ndarray) -> str:
    queries = len(junk)
    text = (
        f"none of {queries} queries has a positive in {len(labels.gallery_identity)} gallery rows"
    )
    if junk.any() and labels.junk_rule == "index_lists":
        return (
            f"{text}: all {int(junk.sum())} images of their identities are listed as junk, by "
            "camera, sequence or list, or are the queries themselves; give a gallery with others"
        )
    if junk.any():
        return (
            f"{text}: the junk rule {labels.junk_rule} removed all {int(junk.sum())} images of "
            "their identities (nearly always: one camera number for all images); correct the "
            "cameras, or use junk_rule none (--junk-rule none)"
        )
    return f"{text}: their identities are not in it; are both numbered alike, and from one set?"
