"""The k nearest gallery rows of each query."""

import torch

from . import close_scores, inputs
from .loading import call

#: Neighbours found beyond those wanted, so that a few that are close can be told in float64.
_MORE = 8


def nearest(query, gallery, k, *, distance="euclidean", block_rows=None, progress=None):
    """Find the k nearest gallery rows of each query, nearest first, exactly.

    The order is that of `rank_metrics`: by the same scores, ties to the smaller gallery row; on a
    processor it is that of float64 where float32 products cannot tell it.

    Args:
        query: Features, floating point (q, d).
        gallery: Features (m, d): a tensor, an array or a memory-mapped array larger than memory, of
            which one block is in memory at a time.
        k: Neighbours per query; fewer come back when the gallery has fewer rows.
        distance: "euclidean" (squared Euclidean distances come back) or "cosine" (1 - cosine).
        block_rows: Gallery rows per block of a stream; None chooses.
        progress: Called with gallery rows compared with all queries, and gallery rows in all.

    Returns:
        (distances, indices): float32 and int64, each (q, min(k, m)), on the device of `query`.
        Distances are clamped at 0.

    Raises:
        ValueError: k < 1, d differs, a row holds NaN or infinity or is too long for float32
            products, or the distance is unknown.

    Source:
        Plain k nearest neighbours; the method is in docs/kernels.md.
    """
    code = inputs.choice(distance, inputs.DISTANCES, "distance")
    query = inputs.as_matrix(query, "query")
    source, gallery = gallery, inputs.as_matrix(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query has {query.shape[1]} features but gallery has {gallery.shape[1]}: both must "
            "come from one model and layer"
        )
    if k < 1:
        raise ValueError(f"k is {k} but must be at least 1")
    device = query.device
    given, wanted, query = query, k, inputs.native(query, device)
    if device.type == "cpu":
        k = min(k + _MORE, max(1, gallery.shape[0]))
    norms, conditions = call("squared_norms", query), inputs.Conditions()
    conditions.require_comparable(norms, "query", code)
    scores = torch.empty((query.shape[0], 0), dtype=torch.float32, device=device)
    indices = torch.empty((query.shape[0], 0), dtype=torch.int64, device=device)
    longest = []
    blocks = inputs.blocks(gallery, device, block_rows, source=source, progress=progress)
    for first, block in blocks:
        own = call("squared_norms", block)
        conditions.require_comparable(own, "gallery", code, first)
        longest.append(own.amax(0, keepdim=True))
        here = min(k, block.shape[0])
        found = call("nearest_scores", query, block, own, here, code, first)
        if scores.shape[1] == 0:
            scores, indices = found
            continue
        # Earlier blocks come first and the sort is stable: ties stay with the smaller row.
        scores, order = torch.cat([scores, found[0]], 1).sort(dim=1, descending=True, stable=True)
        indices = torch.cat([indices, found[1]], 1).gather(1, order)[:, :k]
        scores = scores[:, :k]
    conditions.settle()
    if device.type == "cpu" and longest:
        error = close_scores.bound(norms, torch.cat(longest), query.shape[1], code)
        scores, indices, _ = close_scores.settled_lists(
            given, gallery, source, wanted, scores, indices, code, error
        )
    return score_to_distance(scores, norms, code), indices


def score_to_distance(scores, query_norms, code):
    """Turn scores (q, k) into clamped distances, float32."""
    if code == inputs.DISTANCES["cosine"]:
        scale = torch.where(query_norms > 0, query_norms.rsqrt(), 0.0)
        distances = 1.0 - scores.double() * scale[:, None]
    else:
        distances = query_norms[:, None] - 2.0 * scores.double()
    return distances.clamp_(min=0.0).float()
