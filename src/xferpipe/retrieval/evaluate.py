"""Evaluation of features from anywhere: the figures of a re-identification table's row."""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.comparison import Progress
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.outcomes import outcomes
from xferpipe.retrieval.own_images import settled


def evaluate(
    query: Any,
    gallery: Any,
    query_identity: Any,
    gallery_identity: Any,
    query_camera: Any = None,
    gallery_camera: Any = None,
    *,
    distance: str = "euclidean",
    ap_kind: str = "step",
    junk_rule: str | None = None,
    rerank: bool = False,
    rerank_k1: int = 20,
    rerank_k2: int = 6,
    rerank_lambda: float = 0.3,
    normalised: bool = False,
    query_expansion: int = 0,
    alpha: float = 0.0,
    positives: Any = None,
    junk: Any = None,
    leave_self_out: bool | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Rank a gallery for each query and return the means over queries.

    Args:
        query: Features, floating point (q, d): array or tensor.
        gallery: Features (m, d): array, tensor or memory-mapped array larger than memory.
        query_identity: Integers (q).
        gallery_identity: Integers (m).
        query_camera: Integers (q), or None; NaN where one is unknown.
        gallery_camera: Integers (m), or None.
        distance: "euclidean" or "cosine".
        ap_kind: "step" (the field's usual) or "trapezoid" (VeRi-776's own script).
        junk_rule: "same_camera" (same identity and camera), "index_lists" or "none"; None takes
            "same_camera" where both sides have cameras, else "none".
        rerank: Re-rank by k-reciprocal neighbours.
        rerank_k1: Neighbours that must be reciprocal; fewer than all images.
        rerank_k2: Neighbours whose sets are averaged, at most rerank_k1 + 1.
        rerank_lambda: Weight of the original distance beside the neighbours', 0 to 1.
        normalised: Scale features to unit length first.
        query_expansion: Nearest gallery images averaged into each query first; 0 for none.
        alpha: Power of the cosine that weighs those images, for unit features; 0: all alike.
        positives: For "index_lists": one list of 0-based gallery rows per query.
        junk: For "index_lists": one list of 0-based gallery rows per query.
        leave_self_out: Where gallery rows equal a query's, as of one set against itself: True
            leaves them out of its gallery, False counts them as hits, None raises.
        progress: Called with what is being done, steps done and steps in all (0 where nobody
            knows); a step of "ranking" is a gallery row compared with all queries.
    Returns:
        `rank1 rank5 rank10 rank20 map minp` as fractions, `queries` (that the means are over),
        `queries_without_positive`, `gallery`, and the options that made them.
    Raises:
        ValueError: Shapes do not fit, a row holds NaN or infinity, an option is unknown, a
            query finds itself, or no query has a positive.
    Source:
        Zheng et al., ICCV 2015, section 5; Ye et al., TPAMI 2021, section 4.2 (mINP).
    """
    labels = Labels.of(
        query_identity,
        gallery_identity,
        query_camera,
        gallery_camera,
        junk_rule=junk_rule,
        positives=positives,
        junk=junk,
    )
    options = Retrieval.model_construct(
        distance=distance,
        normalised=normalised,
        ap_kind=ap_kind,
        query_expansion=query_expansion,
        rerank_k1=rerank_k1,
        rerank_k2=rerank_k2,
        rerank_lambda=rerank_lambda,
    )
    rule = labels.junk_rule
    query, gallery = (
        side if hasattr(side, "shape") else numpy.asarray(side) for side in (query, gallery)
    )
    labels = settled(query, gallery, labels, leave_self_out=leave_self_out)
    (outcome,) = outcomes(
        query, gallery, labels, options, reranked=(rerank,), alpha=alpha, progress=progress
    )
    return {
        **outcome.figures.means(),
        "gallery": len(labels.gallery_identity),
        "distance": distance,
        "normalised": normalised,
        "ap_kind": ap_kind,
        "junk_rule": rule,
        "query_expansion": query_expansion,
        "reranked": rerank,
    }
