"""CMC, average precision and inverse negative penalty of a ranking, without the ranking."""

from typing import NamedTuple

import torch

from . import close_scores, inputs
from .loading import call
from .pairs import Pairs, make_pairs, offsets_of


class RankMetrics(NamedTuple):
    """One value per query.

    Attributes:
        ap: Average precision, fraction, float64 (q); NaN where there is no positive.
        inp: Positives over the rank of the last one, fraction, float64 (q); NaN likewise.
        first_hit: 1-based rank of the nearest positive, int64 (q); 0 where there is none.
        positives: Gallery items that count as hits, int64 (q).
        junk: Gallery items that were removed, int64 (q).
        settled: Ranked again in float64, because float32 could not tell the order, bool (q).
    """

    ap: torch.Tensor
    inp: torch.Tensor
    first_hit: torch.Tensor
    positives: torch.Tensor
    junk: torch.Tensor
    settled: torch.Tensor


def rank_metrics(
    query,
    gallery,
    query_identity,
    gallery_identity,
    query_camera=None,
    gallery_camera=None,
    *,
    distance="euclidean",
    ap_kind="step",
    junk_rule="same_camera",
    positives=None,
    junk=None,
    block_rows=None,
    progress=None,
):
    """Rank the gallery for each query and score the ranking, exactly.

    No q x m matrix and no sort of the gallery: the scores of the positives are thresholds, tiles of
    scores are counted against them and thrown away. Ties go to the smaller gallery row. On a
    processor, queries whose order float32 products cannot tell are ranked again in float64; of a
    large ranking (2^31 multiply-adds) those where it matters to the figures.

    Args:
        query: Features, floating point (q, d); float32 and bfloat16 are used as they are.
        gallery: Features (m, d): a tensor, an array or a memory-mapped array larger than memory, of
            which one block is in memory at a time.
        query_identity: Integers (q).
        gallery_identity: Integers (m).
        query_camera: Integers (q), needed by junk_rule "same_camera".
        gallery_camera: Integers (m), needed by junk_rule "same_camera".
        distance: "euclidean" (squared inside) or "cosine".
        ap_kind: "step" (the field's usual) or "trapezoid" (VeRi-776's own script).
        junk_rule: "same_camera" (same identity and camera), "index_lists" or "none".
        positives: For "index_lists": one list of 0-based gallery rows per query.
        junk: For "index_lists": one list of 0-based gallery rows per query.
        block_rows: Gallery rows per block of a stream; None chooses.
        progress: Called with gallery rows compared with all queries, and gallery rows in all.

    Returns:
        RankMetrics, on the CPU: `ap`, `inp` (fractions), `first_hit` (1-based), `positives`,
        `junk` (counts).

    Raises:
        ValueError: d differs, a label vector has the wrong length, a row holds NaN or infinity or
            is too long for float32 products, an option is unknown, or no query has a positive.

    Source:
        Zheng et al., ICCV 2015, section 5 (average precision); Ye et al., TPAMI 2021, section 4.2
        (inverse negative penalty).
    """
    distance = inputs.choice(distance, inputs.DISTANCES, "distance")
    kind = inputs.choice(ap_kind, inputs.AP_KINDS, "ap_kind")
    query = inputs.as_matrix(query, "query")
    source, gallery = gallery, inputs.as_matrix(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query has {query.shape[1]} features but gallery has {gallery.shape[1]}: both must "
            "come from one model and layer"
        )
    device, conditions = query.device, inputs.Conditions()
    given, query = query, inputs.native(query, device)
    conditions.require_comparable(call("squared_norms", query), "query", distance)
    pairs = make_pairs(
        query.shape[0],
        gallery.shape[0],
        query_identity,
        gallery_identity,
        query_camera,
        gallery_camera,
        junk_rule=junk_rule,
        positives=positives,
        junk=junk,
        device=device,
        conditions=conditions,
    )
    first_pass = inputs.blocks(gallery, device, block_rows, source=source)
    second_pass = inputs.blocks(gallery, device, block_rows, source=source, progress=progress)
    passes = (gallery.shape[0], first_pass, second_pass)
    nearer, unsure, norms = _count_nearer(query, *passes, pairs, distance, conditions, progress)
    conditions.settle()
    if unsure.any():
        rows = unsure.nonzero()[:, 0]
        mine = unsure.repeat_interleave(pairs.offsets.diff())
        own = Pairs(offsets_of(pairs.offsets.diff()[rows]), pairs.index[mine], pairs.junk[mine])
        nearer[mine] = close_scores.recounted(given[rows], gallery, source, norms, own, distance)
    return _summary(pairs, nearer, kind, unsure)


def _count_nearer(query, rows, first_pass, second_pass, pairs, distance, conditions, progress):
    """Count the gallery rows before each pair: one pass for thresholds, one for counts.

    On a GPU they are one op where the gallery is one block. On a processor, more thresholds say
    which queries float32 cannot order.
    """
    on_cpu = query.device.type == "cpu"
    scores = query.new_empty((len(pairs.index),), dtype=torch.float32)
    norms = {}
    for first, block in first_pass:
        norms[first] = call("squared_norms", block)
        conditions.require_comparable(norms[first], "gallery", distance, first)
        if block.shape[0] == rows:
            args = (query, block, norms[first], pairs.offsets, pairs.index, distance)
            if on_cpu:
                scores = call("rank_metrics_scores", *args)
                continue
            if progress is not None:
                progress(0, rows)
            nearer = call("rank_metrics_nearer", *args)
            if progress is not None:
                progress(rows, rows)
            return nearer, torch.zeros(len(query), dtype=torch.bool), norms
        chosen, offsets = pairs.within(first, first + block.shape[0])
        index = pairs.index[chosen] - first
        args = (query, block, norms[first], offsets, index, distance)
        scores[chosen] = call("rank_metrics_scores", *args)
    norms = torch.cat(list(norms.values())) if norms else None
    watch, counted = None, (pairs.offsets, pairs.index, scores)
    if on_cpu and norms is not None:
        own, width = call("squared_norms", query), query.shape[1]
        watch = close_scores.watched(pairs, scores, len(query) * rows * width)
        error = close_scores.bound(own, norms, width, distance, likely=not watch.thorough)
        *counted, order = close_scores.widened(pairs, scores, watch, error, rows)
    nearer = torch.zeros(len(counted[1]), dtype=torch.int64, device=query.device)
    for first, block in second_pass:
        own = norms[first : first + block.shape[0]]
        nearer += call("rank_metrics_counts", query, block, own, *counted, distance, first)
    if watch is None:
        return nearer, torch.zeros(len(query), dtype=torch.bool), norms
    together = torch.empty_like(nearer)
    together[order] = nearer
    nearer, above, reach = together.split([len(scores), len(watch.pair), len(watch.pair)])
    return nearer.clone(), close_scores.doubtful(watch, above, reach, len(query)), norms


def _summary(pairs, nearer, kind, settled):
    found = call("rank_metrics_summary", pairs.offsets, nearer, pairs.junk, kind)
    if pairs.offsets.device.type == "cpu":
        return RankMetrics(*found, settled)
    together = torch.stack(
        [part.view(torch.int64) for part in found]
    ).cpu()  # one transfer, not five
    return RankMetrics(*together[:2].view(torch.float64), *together[2:], settled)


def rank_metrics_from_distances(
    blocks,
    query_identity,
    gallery_identity,
    query_camera=None,
    gallery_camera=None,
    *,
    ap_kind="step",
    junk_rule="same_camera",
    positives=None,
    junk=None,
):
    """Score the ranking that given distances make (re-ranked ones, say).

    Args:
        blocks: Distances, floating point: one tensor (q, m), or an iterable of blocks (b, m) of
            consecutive queries, so that no q x m matrix need exist.
        query_identity: Integers (q).
        gallery_identity: Integers (m).
        query_camera: Integers (q), needed by junk_rule "same_camera".
        gallery_camera: Integers (m), needed by junk_rule "same_camera".
        ap_kind: "step" or "trapezoid".
        junk_rule: "same_camera", "index_lists" or "none".
        positives: For "index_lists": one list of 0-based gallery rows per query.
        junk: For "index_lists": one list of 0-based gallery rows per query.

    Returns:
        RankMetrics, as `rank_metrics`.

    Raises:
        ValueError: as `rank_metrics`, or the blocks do not add up to q rows of m distances.

    Source:
        As `rank_metrics`.
    """
    kind = inputs.choice(ap_kind, inputs.AP_KINDS, "ap_kind")
    queries, rows = len(query_identity), len(gallery_identity)
    pairs = make_pairs(
        queries,
        rows,
        query_identity,
        gallery_identity,
        query_camera,
        gallery_camera,
        junk_rule=junk_rule,
        positives=positives,
        junk=junk,
    )
    counts, done = [], 0
    for block in [blocks] if isinstance(blocks, torch.Tensor) else blocks:
        block = inputs.as_matrix(block, "distances")
        if block.shape[1] != rows or done + block.shape[0] > queries:
            raise ValueError(
                f"a block of distances has shape {tuple(block.shape)} after {done} queries, but "
                f"there are {queries} queries and {rows} gallery rows"
            )
        block = inputs.native(block, block.device).float()
        inputs.require_finite(block.double().sum(1), "distances", done)
        own = pairs.rows(done, done + block.shape[0]).to(block.device)
        counts.append(call("rank_metrics_dense", block, own.offsets, own.index).cpu())
        done += block.shape[0]
    if done != queries:
        raise ValueError(f"the blocks hold {done} queries but query_identity has {queries}")
    nearer = torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64)
    return _summary(pairs, nearer, kind, torch.zeros(queries, dtype=torch.bool))


__all__ = ["Pairs", "RankMetrics", "rank_metrics", "rank_metrics_from_distances"]
