"""Where to put the threshold: verification of pairs, rejection of unknown identities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
import polars
import torch

from xferpipe.ops import mapped
from xferpipe.retrieval.comparison import Comparison
from xferpipe.retrieval.labels import Labels

#: Rates of false acceptance that are reported.
RATES = (1e-3, 1e-2)
#: Rates of the curves, four a decade. Of unknown queries there are few, of pairs many.
PAIR_RATES = tuple(float(f"{10 ** (at / 4):.4g}") for at in range(-24, -7))
QUERY_RATES = (*PAIR_RATES, 0.01778, 0.03162, 0.05623, 0.1)
_BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class OperatingPoints:
    """Curves of thresholds.

    Attributes:
        verification: One row a rate: fpr (the rate allowed), threshold (the largest distance that
            is accepted, null where nothing may be), tpr (share of the pairs of one identity that
            are accepted).
        identification: One row a rate: far (share of unknown queries that are accepted), threshold,
            dir (share of known queries whose first result is right and accepted).
        pairs: Pairs of one identity, and of two.
        queries: Known queries (with a positive), and unknown ones (whose identity is not in the
            gallery).
    """

    verification: polars.DataFrame
    identification: polars.DataFrame
    pairs: tuple[int, int]
    queries: tuple[int, int]

    def table(self) -> polars.DataFrame:
        """Return both curves in one table: kind, allowed rate, threshold, accepted share."""
        names = {"fpr": "allowed", "far": "allowed", "tpr": "accepted", "dir": "accepted"}
        parts = [
            rows.rename(names, strict=False).with_columns(kind=polars.lit(kind))
            for kind, rows in (
                ("verification", self.verification),
                ("identification", self.identification),
            )
        ]
        return polars.concat(parts).select("kind", "allowed", "threshold", "accepted")

    def at(self, rate: float) -> dict[str, float | None]:
        """Return what a rate of `RATES` comes to."""
        verified = self.verification.row(by_predicate=polars.col("fpr") == rate, named=True)
        known = self.identification.row(by_predicate=polars.col("far") == rate, named=True)
        return {
            "rate": rate,
            "tpr": verified["tpr"],
            "threshold": verified["threshold"],
            "dir": known["dir"],
            "dir_threshold": known["threshold"],
        }


def operating_points(comparison: Comparison, labels: Labels) -> OperatingPoints:
    """Find the thresholds at which few pairs of two identities, or few unknown queries, pass.

    Junk takes part in neither. Of the distances between two identities, those that the largest rate
    lets pass are kept, in blocks of queries; no q x m matrix exists.

    Args:
        comparison: Query and gallery features; distances are those that it reports.
        labels: Identities, cameras and junk rule.
    Source:
        Grother et al., NIST FRVT part 2 (open-set identification).
    """
    asked, found, junk = labels.pairs()
    positives = numpy.bincount(asked[~junk], minlength=len(labels.query_identity))
    own = numpy.bincount(asked, minlength=len(labels.query_identity))
    genuine, impostor, first = [], [], []
    total = int((len(labels.gallery_identity) - own).sum())
    keep = int(PAIR_RATES[-1] * total) + 2
    for rows, distances in _distances(comparison):
        here = (asked >= rows.start) & (asked < rows.stop)
        at = asked[here] - rows.start, found[here]
        is_junk = junk[here]
        genuine.append(distances[at][~is_junk])
        nearest = distances.copy()
        nearest[at[0][is_junk], at[1][is_junk]] = numpy.inf
        best = nearest.argmin(1)
        is_right = labels.gallery_identity[best] == labels.query_identity[rows]
        first.append(numpy.stack([nearest[numpy.arange(len(best)), best], is_right], 1))
        distances[at] = numpy.inf
        flat = numpy.concatenate([*impostor, distances[numpy.isfinite(distances)]])
        impostor = [numpy.partition(flat, keep - 1)[:keep] if len(flat) > keep else flat]
    genuine, impostor = numpy.concatenate(genuine), numpy.sort(numpy.concatenate(impostor))
    first = numpy.concatenate(first)
    known = positives > 0
    # A query whose images are all junk is neither: its identity is in the gallery.
    unknown = ~known & (own == 0)
    right = numpy.sort(first[known & (first[:, 1] > 0), 0])
    return OperatingPoints(
        _curve(PAIR_RATES, "fpr", "tpr", impostor, total, numpy.sort(genuine), len(genuine)),
        _curve(
            *(QUERY_RATES, "far", "dir", numpy.sort(first[unknown, 0]), int(unknown.sum())),
            *(right, int(known.sum())),
        ),
        (len(genuine), total),
        (int(known.sum()), int(unknown.sum())),
    )


def _curve(
    rates: tuple[float, ...],
    allowed: str,
    share: str,
    false: numpy.ndarray,
    false_count: int,
    right: numpy.ndarray,
    right_count: int,
) -> polars.DataFrame:
    """Read off, for each rate, the largest distance at which no more false ones pass."""
    rows = []
    for rate in rates:
        passing = int(numpy.floor(rate * false_count * (1 + 1e-12)))
        row = {allowed: rate, "threshold": None, share: None}
        if false_count and right_count:
            # The first false distance that must not pass; all right ones below it do.
            limit = false[passing] if passing < len(false) else numpy.inf
            accepted = int(numpy.searchsorted(right, limit, side="left"))
            passed = [part[: numpy.searchsorted(part, limit)] for part in (right, false)]
            below = [part[-1] for part in passed if len(part)]
            row |= {
                "threshold": float(max(below)) if below else None,
                share: accepted / right_count,
            }
        rows.append(row)
    return polars.DataFrame(
        rows, schema={allowed: polars.Float64, "threshold": polars.Float64, share: polars.Float64}
    )


def _distances(comparison: Comparison) -> Iterator[tuple[slice, numpy.ndarray]]:
    """Yield reported distances of consecutive queries to the whole gallery, float64 (b, m)."""
    gallery, width = comparison.gallery, comparison.query.shape[1]
    step = max(1, _BLOCK_BYTES // (8 * max(1, len(gallery))))
    columns = max(1, _BLOCK_BYTES // (8 * width))
    for first in range(0, len(comparison.query), step):
        rows = slice(first, min(first + step, len(comparison.query)))
        query, parts = _unit(comparison.query[rows].double(), comparison), []
        for start in range(0, len(gallery), columns):
            part = gallery[start : start + columns]
            part = _unit(torch.as_tensor(numpy.asarray(part)).double(), comparison)
            mapped.release(gallery)
            squared = (
                query.square().sum(1)[:, None] - 2 * query @ part.T + part.square().sum(1)
            ).clamp(min=0)
            parts.append(squared / 2 if comparison.distance == "cosine" else squared)
        yield rows, comparison.reported(torch.cat(parts, 1)).numpy()


def _unit(features: torch.Tensor, comparison: Comparison) -> torch.Tensor:
    if comparison.distance == "cosine":
        return torch.nn.functional.normalize(features, dim=1, eps=1e-300)
    return features
