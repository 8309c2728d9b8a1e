"""Figures by pair of cameras: from where to where a vehicle is hard to find again."""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.retrieval.comparison import Comparison, Progress
from xferpipe.retrieval.labels import Labels, known_values
from xferpipe.retrieval.query_figures import rank


def camera_pairs(
    comparison: Comparison,
    labels: Labels,
    *,
    ap_kind: str = "step",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Score the queries of each camera against the gallery of each other camera alone.

    Args:
        comparison: Query and gallery features.
        labels: Identities, cameras and junk rule.
        ap_kind: "step" or "trapezoid".
        progress: Called as cameras are done.
    Returns:
        One row per pair that has a query with a positive: `query_camera`, `gallery_camera`,
        `queries`, `gallery`, `rank1` and `map`. None without cameras.
    """
    if labels.query_camera is None or labels.gallery_camera is None:
        return []
    rows = []
    cameras = known_values(labels.gallery_camera)
    for done, camera in enumerate(cameras):
        if progress is not None:
            progress("pairs of cameras", done, len(cameras))
        part = numpy.flatnonzero(labels.gallery_camera == camera)
        own = labels.gallery(part)
        if not own.counts()[0].any():
            continue
        cut = Comparison(
            comparison.query,
            comparison.gallery_rows(part),
            comparison.distance,
            comparison.wanted,
            comparison.unit,
        )
        figures = rank(cut, own, ap_kind=ap_kind)
        for query_camera in known_values(labels.query_camera):
            scored = (labels.query_camera == query_camera) & (figures.positives > 0)
            if scored.any():
                rows.append(
                    {
                        "query_camera": int(query_camera),
                        "gallery_camera": int(camera),
                        "queries": int(scored.sum()),
                        "gallery": len(part),
                        "rank1": float((figures.first_hit[scored] == 1).mean()),
                        "map": float(figures.ap[scored].mean()),
                    }
                )
    return sorted(rows, key=lambda row: (row["query_camera"], row["gallery_camera"]))
