"""Ranking, top-k lists and re-ranking on the device, by the launchers.

Arguments are those of the registered ops. Index lists are taken as the wrappers checked them:
looking at them here would wait for the device.
"""

import torch

from .. import loading
from .launch import BLOCKS, Rows

TILE = 128
LARGEST_K = 1024


def squared_norms(launch, features):
    """Return the squared norm of each row, float64 (n)."""
    norms = features.new_empty((features.shape[0],), dtype=torch.float64)
    launch("squared_norms", Rows(features), norms)
    return norms


def rank_metrics_scores(launch, query, gallery, gallery_norms, offsets, index, distance):
    """Return the score of each pair, float32 (pairs), with the bits it has inside a tile."""
    out = query.new_empty((len(index),), dtype=torch.float32)
    arguments = (Rows(query), Rows(gallery), gallery_norms, distance)
    launch("rank_metrics_scores", *arguments, offsets, index, len(index), out)
    return out


def rank_metrics_counts(
    launch, query, gallery, gallery_norms, offsets, index, scores, distance, first_row
):
    """Count the gallery rows that come before each pair, int64 (pairs)."""
    nearer = torch.zeros_like(index)
    arguments = (Rows(query), Rows(gallery), gallery_norms, distance)
    launch("rank_metrics_counts", *arguments, offsets, scores, index, first_row, nearer)
    return nearer


def rank_metrics_dense(launch, distances, offsets, index):
    """Count the columns that come before each pair, int64 (pairs)."""
    nearer = torch.zeros_like(index)
    owner = torch.searchsorted(offsets, torch.arange(len(index), device=index.device), right=True)
    values = -distances[owner - 1, index] if len(index) else distances.new_empty((0,))
    launch("rank_metrics_dense", Rows(distances), offsets, values, index, nearer)
    return nearer


def _lists(launch, query, gallery, norms, k, distance, first_row, lowest=None):
    """Return scores and rows (queries, k); fill `lowest` (queries) where it is given."""
    rows_of_tiles = -(-query.shape[0] // TILE)
    tiles = -(-gallery.shape[0] // TILE)
    # Never more than BLOCKS in all: a few more would run alone after the others.
    tiles_each = max(1, -(-tiles // max(1, BLOCKS // max(1, rows_of_tiles))))
    ranges = max(1, -(-tiles // tiles_each))
    shape = (ranges, query.shape[0], k)
    scores = query.new_empty(shape, dtype=torch.float32)
    rows = query.new_empty(shape, dtype=torch.int64)
    least = None if lowest is None else query.new_empty(shape[:2], dtype=torch.float32)
    arguments = (Rows(query), Rows(gallery), norms, distance, k, tiles_each, first_row)
    launch("nearest_scores", *arguments, scores, rows, least)
    if lowest is not None:
        lowest.copy_(least.amin(0))
    if ranges == 1:
        return scores[0], rows[0]
    # Ranges are in the order of their rows and the sort is stable: ties stay with the smaller row.
    flat = scores.permute(1, 0, 2).reshape(query.shape[0], -1)
    best, order = flat.sort(dim=1, descending=True, stable=True)
    rows = rows.permute(1, 0, 2).reshape(query.shape[0], -1).gather(1, order[:, :k])
    return best[:, :k].contiguous(), rows


def nearest_scores(launch, query, gallery, gallery_norms, k, distance, first_row):
    """Return the k best scores, float32 (q, k), and their rows, int64; ties by row."""
    return _lists(launch, query, gallery, gallery_norms, k, distance, first_row)


def k_reciprocal_neighbours(launch, query, gallery, norms, k, kept):
    """Return scores (N, k), items (N, k) and the lowest score (N) of every item among all N.

    `kept`, unless empty, receives the scores of the gallery for each query (q, m).
    """
    if kept.numel():
        pair = (part.float().contiguous() for part in (query, gallery))
        sizes = (1, *kept.shape, query.shape[1], 0, 0, kept.numel(), 1.0)
        launch("gradient_outer", *pair, *sizes, kept)
        kept -= (0.5 * norms[len(query) :]).float()
    items = torch.cat([query, gallery])
    lowest = items.new_empty((len(items),), dtype=torch.float32)
    return *_lists(launch, items, items, norms, k, 0, 0, lowest), lowest


def on_the_cpu(name, *arguments):
    """Run an op of sparse rows on the CPU, and bring its results back to the device."""
    device = arguments[0].device
    moved = [part.cpu() if isinstance(part, torch.Tensor) else part for part in arguments]
    return tuple(part.to(device) for part in loading.call(name, *moved))
