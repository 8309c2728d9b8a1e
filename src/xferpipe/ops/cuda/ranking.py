"""Ranking, top-k lists and re-ranking on the device: products by the library, order by kernels.

Arguments are those of the registered ops.
"""

import torch

from .. import loading
from ..inputs import DISTANCES
from .products import score_blocks

LONGEST_LIST = 2048  # that the kernel keeps


def squared_norms(kernels, features):
    """Return the squared norm of each row, float64 (n)."""
    return kernels.squared_norms(features)


def _require_galleries(query, gallery, norms):
    if query.dim() != 2 or gallery.dim() != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query has shape {tuple(query.shape)} and gallery {tuple(gallery.shape)}: both must "
            "be (rows, d), from one model and layer"
        )
    if query.shape[1] < 1:
        raise ValueError("query and gallery have no features: nothing can be ranked by them")
    if norms.shape != (gallery.shape[0],) or norms.dtype != torch.float64:
        raise ValueError(
            f"gallery_norms is {norms.dtype} of shape {tuple(norms.shape)} but must be float64 "
            f"({gallery.shape[0]})"
        )


class _PairCheck:
    """Whether pairs fit the queries and name rows of the gallery: asked at once, answered later.

    The answer waits for the device, so it is fetched when its work has been handed over. Kernels
    leave out whatever is wrong.
    """

    def __init__(self, kernels, offsets, index, queries, rows):
        self.offsets, self.index, self.rows = offsets, index, rows
        self.wrong = kernels.wrong_pairs(offsets, index, queries, -1 if rows is None else rows)

    def settle(self):
        """Raise where something was wrong."""
        if not int(self.wrong):
            return
        bounds, found = self.offsets.tolist(), self.index.tolist()
        if bounds[0] != 0 or bounds[-1] != len(found) or sorted(bounds) != bounds:
            raise ValueError(
                f"offsets must rise from 0 to the number of pairs, {len(found)}, but run from "
                f"{bounds[0]} to {bounds[-1]}"
            )
        row = next(row for row in found if not 0 <= row < self.rows)
        raise ValueError(f"index names gallery row {row} but the gallery has {self.rows} rows")


def _counts(kernels, query, gallery, norms, offsets, index, scores, distance, first_row):
    _require_galleries(query, gallery, norms)
    m = len(gallery)
    check = _PairCheck(kernels, offsets, index, len(query), m if scores is None else None)
    nearer = torch.zeros_like(index)
    for first, block in score_blocks(kernels, query, gallery, norms, distance):
        own = offsets[first : first + len(block) + 1]
        kernels.count_before(block, m, own, index, scores, first_row, nearer)
    check.settle()
    return nearer


def rank_metrics_nearer(kernels, query, gallery, gallery_norms, offsets, index, distance):
    """Count the gallery rows that come before each pair, int64 (pairs), with one product."""
    return _counts(kernels, query, gallery, gallery_norms, offsets, index, None, distance, 0)


def rank_metrics_counts(
    kernels, query, gallery, gallery_norms, offsets, index, scores, distance, first_row
):
    """Count the rows of a block of the gallery that come before each pair, int64 (pairs)."""
    lists = (gallery_norms, offsets, index, scores)
    return _counts(kernels, query, gallery, *lists, distance, first_row)


def rank_metrics_scores(kernels, query, gallery, gallery_norms, offsets, index, distance):
    """Return the score of each pair, float32 (pairs), with the bits that it has when counted."""
    _require_galleries(query, gallery, gallery_norms)
    _PairCheck(kernels, offsets, index, len(query), len(gallery)).settle()
    owner = torch.repeat_interleave(offsets.diff(), output_size=len(index))
    bounds = offsets.tolist()
    out = torch.empty((len(index),), dtype=torch.float32, device=query.device)
    for first, block in score_blocks(kernels, query, gallery, gallery_norms, distance):
        own = slice(bounds[first], bounds[first + len(block)])
        out[own] = block[owner[own] - first, index[own]]
    return out


def rank_metrics_dense(kernels, distances, offsets, index):
    """Count the columns that come before each pair, int64 (pairs)."""
    queries, m = distances.shape
    check = _PairCheck(kernels, offsets, index, queries, m)
    nearer = torch.zeros_like(index)
    kernels.count_before(-distances, m, offsets, index, None, 0, nearer)
    check.settle()
    return nearer


def rank_metrics_pairs(kernels, query_identity, gallery_identity, query_camera, gallery_camera):
    """Return offsets (q + 1), gallery rows and junk of the pairs of one identity; see the twin."""
    ordered, order = gallery_identity.sort(stable=True)
    start, length = kernels.pair_bounds(ordered, query_identity)
    offsets = length.new_zeros(len(length) + 1)
    torch.cumsum(length, 0, out=offsets[1:])
    cameras = (query_camera, gallery_camera) if query_camera.numel() else (None, None)
    return offsets, *kernels.fill_pairs(start, offsets, order, int(offsets[-1]), *cameras)


def rank_metrics_summary(kernels, offsets, nearer, junk, ap_kind):
    """Return ap, inp (float64), first_hit, positives, junk (int64), each (q)."""
    return kernels.rank_metrics_summary(offsets, nearer, junk, ap_kind)


def _best(kernels, block, m, k, first_row):
    """Return the k best columns: scores and rows (queries, k), and the lowest scores (queries)."""
    scores, rows, lowest = kernels.best_of_rows(block, m, k, first_row)
    if len(scores) == 1:
        return scores[0], rows[0], lowest[0]
    # Ranges are in the order of their columns and the sort is stable: ties stay with the smaller
    # row.
    flat = scores.permute(1, 0, 2).flatten(1)
    best, order = flat.sort(dim=1, descending=True, stable=True)
    rows = rows.permute(1, 0, 2).flatten(1).gather(1, order[:, :k])
    return best[:, :k].contiguous(), rows, lowest.amin(0)


def _lists(kernels, blocks, m, k, first_row=0, kept=None):
    """Return the k best scores and rows (queries, k) and the lowest score (queries) of each query.

    `kept`, where given, receives the scores of the last columns for the first queries.
    """
    found = []
    for first, block in blocks:
        found.append(_best(kernels, block, m, k, first_row))
        if kept is not None and first < len(kept):
            into = kept[first : first + len(block)]
            into.copy_(block[: len(into), m - into.shape[1] : m])
    return tuple(parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*found))


def nearest_scores(kernels, query, gallery, gallery_norms, k, distance, first_row):
    """Return the k best scores, float32 (q, k), and their rows, int64; ties by row."""
    _require_galleries(query, gallery, gallery_norms)
    if not 1 <= k <= gallery.shape[0]:
        raise ValueError(f"k is {k} but this block has {gallery.shape[0]} rows")
    if not len(query):
        empty = torch.empty((0, k), dtype=torch.float32, device=query.device)
        return empty, empty.long()
    blocks = score_blocks(kernels, query, gallery, gallery_norms, distance)
    return _lists(kernels, blocks, len(gallery), k, first_row)[:2]


def k_reciprocal_neighbours(kernels, query, gallery, norms, k, kept):
    """Return scores (N, k), items (N, k) and the lowest score (N) of every item among all N.

    `kept`, unless empty, receives the scores of the gallery for each query (q, m).
    """
    items = torch.cat([query, gallery])
    _require_galleries(items, items, norms)
    blocks = score_blocks(kernels, items, items, norms, DISTANCES["euclidean"])
    return _lists(kernels, blocks, len(items), k, kept=kept if kept.numel() else None)


def _fetched(part):
    # Memory that is not pinned is read twenty times slower.
    return torch.empty_like(part, device="cpu", pin_memory=True).copy_(part, non_blocking=True)


def on_the_cpu(name, *arguments):
    """Run an op of sparse rows on the CPU, and bring its results back to the device."""
    device = arguments[0].device
    moved = [_fetched(part) if isinstance(part, torch.Tensor) else part for part in arguments]
    torch.cuda.current_stream(device).synchronize()
    return tuple(part.to(device) for part in loading.call(name, *moved))
