"""Torch twins of the registered ops: the same arguments, the same results, no native code.

They run on any device, in float64 inside, and are written to be read; the kernels are tested
against them.
"""

import itertools

import torch

from .reference_gradients import (  # noqa: F401
    gradient_gram,
    gradient_gram_factors,
    gradient_sketch_dense,
    gradient_sketch_fold,
    gradient_sketch_hadamard,
    gradient_sketch_kronecker,
    gradient_sketch_sparse,
)
from .reference_k_reciprocal import k_reciprocal_neighbours, k_reciprocal_rows  # noqa: F401

EUCLIDEAN, COSINE = 0, 1
STEP, TRAPEZOID = 0, 1
BLOCK_ENTRIES = 1 << 24


def squared_norms(features):
    """Return the squared norm of each row, float64 (n)."""
    out = [block.double().square().sum(1) for block in features.split(4096)]
    return torch.cat(out) if out else features.new_empty((0,), dtype=torch.float64)


def _scores(query, gallery, gallery_norms, distance):
    """Return larger-is-nearer scores, float32 (q, m)."""
    products = query.double() @ gallery.double().T
    if distance == COSINE:
        scale = torch.where(gallery_norms > 0, gallery_norms.rsqrt(), 0.0)
        return (products * scale).float()
    return (products - 0.5 * gallery_norms).float()


def rank_metrics_scores(query, gallery, gallery_norms, offsets, index, distance):
    """Return the score of each pair, float32 (pairs)."""
    out = query.new_empty((index.shape[0],), dtype=torch.float32)
    bounds = offsets.tolist()
    for i, (start, end) in enumerate(itertools.pairwise(bounds)):
        rows = index[start:end]
        out[start:end] = _scores(query[i : i + 1], gallery[rows], gallery_norms[rows], distance)[0]
    return out


def _count_nearer(scores, thresholds, rows, first_row):
    """Count, for one query, the scores that come before each pair: by score, then by row."""
    ordered, order = scores.sort(stable=True)
    here = scores.shape[0]
    after = first_row + here
    above = here - torch.searchsorted(ordered, thresholds, right=True)
    reach = here - torch.searchsorted(ordered, thresholds)
    nearer = torch.where(rows >= after, reach, above)
    # The score of a row inside is its threshold, and the stable sort keeps equals in their order.
    place = torch.empty_like(order).scatter_(0, order, torch.arange(here, device=order.device))
    inside = (rows >= first_row) & (rows < after)
    nearer[inside] += place[rows[inside] - first_row] - (here - reach[inside])
    return nearer


def rank_metrics_counts(query, gallery, gallery_norms, offsets, index, scores, distance, first_row):
    """Count the gallery rows that come before each pair, int64 (pairs)."""
    out = torch.zeros_like(index)
    bounds = offsets.tolist()
    step = max(1, BLOCK_ENTRIES // max(1, gallery.shape[0]))
    for first in range(0, query.shape[0], step):
        block = _scores(query[first : first + step], gallery, gallery_norms, distance)
        for i in range(block.shape[0]):
            own = slice(bounds[first + i], bounds[first + i + 1])
            rows, thresholds = index[own], scores[own]
            # A pair's own score must be its threshold exactly, whatever the matrix product rounds.
            here = (rows >= first_row) & (rows < first_row + gallery.shape[0])
            block[i, rows[here] - first_row] = thresholds[here]
            out[own] = _count_nearer(block[i], thresholds, rows, first_row)
    return out


def rank_metrics_nearer(query, gallery, gallery_norms, offsets, index, distance):
    """Count the gallery rows that come before each pair, int64 (pairs)."""
    lists = (query, gallery, gallery_norms, offsets, index)
    scores = rank_metrics_scores(*lists, distance)
    return rank_metrics_counts(*lists, scores, distance, 0)


def rank_metrics_dense(distances, offsets, index):
    """Count the columns that come before each pair, int64 (pairs)."""
    out = torch.zeros_like(index)
    bounds = offsets.tolist()
    for i in range(distances.shape[0]):
        own = slice(bounds[i], bounds[i + 1])
        scores = -distances[i]
        out[own] = _count_nearer(scores, scores[index[own]], index[own], 0)
    return out


def rank_metrics_pairs(query_identity, gallery_identity, query_camera, gallery_camera):
    """Return offsets (q + 1), gallery rows and junk of the pairs of one identity.

    Rows of a query ascend. A pair of one camera is junk; empty cameras (0) are not known.
    """
    ordered, order = gallery_identity.sort(stable=True)
    start = torch.searchsorted(ordered, query_identity)
    length = torch.searchsorted(ordered, query_identity, right=True) - start
    offsets = length.new_zeros(len(length) + 1)
    torch.cumsum(length, 0, out=offsets[1:])
    move = torch.repeat_interleave(start - offsets[:-1], length)
    index = order[move + torch.arange(len(move), device=move.device)]
    if not query_camera.numel():
        return offsets, index, torch.zeros_like(index, dtype=torch.bool)
    owner = torch.repeat_interleave(query_camera, length)
    return offsets, index, owner == gallery_camera[index]


def rank_metrics_summary(offsets, nearer, junk, ap_kind):
    """Return ap, inp (float64), first_hit, positives, junk (int64), each (q)."""
    bounds = offsets.tolist()
    queries = len(bounds) - 1
    ap, inp = (torch.full((queries,), float("nan"), dtype=torch.float64) for _ in range(2))
    first, hits, dropped = (torch.zeros(queries, dtype=torch.int64) for _ in range(3))
    nearer, junk = nearer.cpu(), junk.cpu()
    for i, (start, end) in enumerate(itertools.pairwise(bounds)):
        order = nearer[start:end].argsort()
        is_junk = junk[start:end][order]
        dropped[i] = is_junk.sum()
        hits[i] = end - start - dropped[i]
        if hits[i] == 0:
            continue
        ranks = (nearer[start:end][order] - is_junk.cumsum(0))[~is_junk].double()
        found = torch.arange(1, len(ranks) + 1, dtype=torch.float64)
        precision = found / (ranks + 1)
        if ap_kind == TRAPEZOID:
            before = torch.where(ranks > 0, (found - 1) / ranks.clamp(min=1), 1.0)
            precision = (precision + before) / 2
        ap[i] = precision.mean()
        inp[i] = found[-1] / (ranks[-1] + 1)
        first[i] = ranks[0].long() + 1
    device = offsets.device
    return tuple(value.to(device) for value in (ap, inp, first, hits, dropped))


def nearest_scores(query, gallery, gallery_norms, k, distance, first_row):
    """Return the k best scores, float32 (q, k), and their rows, int64; ties by row."""
    step = max(1, BLOCK_ENTRIES // max(1, gallery.shape[0]))
    scores, rows = [], []
    for first in range(0, query.shape[0], step):
        block = _scores(query[first : first + step], gallery, gallery_norms, distance)
        best = block.sort(dim=1, descending=True, stable=True)
        scores.append(best.values[:, :k])
        rows.append(best.indices[:, :k] + first_row)
    if not scores:
        empty = query.new_empty((0, k), dtype=torch.float32)
        return empty, empty.long()
    return torch.cat(scores), torch.cat(rows)


def column_sums(features, sums):
    """Add each column's sum to `sums`, float64 (d), in place."""
    for block in features.split(4096):
        sums += block.double().sum(0)


def _shifted(features, shift):
    """Return features less a shift, rounded to float32 once, as float64."""
    return (features.double() - shift).float().double()


def label_correlation_columns(features, labels, shift, gram, class_sums):
    """Add F^T F to `gram` (d, d) and sums per class to `class_sums` (classes, d), in place."""
    for rows, own in zip(features.split(4096), labels.split(4096)):
        moved = _shifted(rows, shift)
        gram += moved.T @ moved
        class_sums.index_add_(0, own, moved)


def label_correlation_rows(features, labels, shift, gram, class_sums, along):
    """Add F F^T to `gram` (n, n), class sums as above and |F shift|^2 to `along` (1), in place."""
    moved = _shifted(features, shift)
    gram += moved @ moved.T
    class_sums.index_add_(0, labels, moved)
    along += (moved @ shift).square().sum()


def label_correlation_whole(features, labels, is_centered):
    """Correlate in one go: sums, the Gram matrix of the smaller side, and their correlation."""
    n, d = features.shape
    _, classes, counts = labels.unique(return_inverse=True, return_counts=True)
    shift = features.double().mean(0)
    size = min(n, d)
    gram = features.new_zeros((size, size), dtype=torch.float64)
    class_sums = features.new_zeros((len(counts), d), dtype=torch.float64)
    along = shift.new_zeros(1 if n < d else 0)
    if n < d:
        label_correlation_rows(features, classes, shift, gram, class_sums, along)
    else:
        label_correlation_columns(features, classes, shift, gram, class_sums)
    return label_correlation_finish(
        gram, class_sums, counts, shift[:0] if is_centered else shift, along
    )


def label_correlation_finish(gram, class_sums, class_counts, mean, along):
    """Correlate the Gram matrix with the label kernel from sums; NaN where one is constant."""
    counts = class_counts.double()
    upper = gram.triu(1)
    whole = gram.diagonal().square().sum() + 2 * upper.square().sum()
    n = counts.sum()
    total_square = class_sums.sum(0).square().sum()
    class_sum = class_sums.square().sum()
    count_square = counts.square().sum()
    if len(mean):
        form = mean.square() @ gram.diagonal() + 2 * mean @ upper @ mean if not len(along) else 0
        whole = whole + 2 * n * (along[0] if len(along) else form)
        class_sum = class_sum + 2 * counts @ class_sums @ mean
    features = whole - (total_square / n) ** 2
    labels = count_square - (count_square / n) ** 2
    if not (features > whole * 1e-13 and labels > count_square * 1e-13):
        return gram.new_full((), float("nan"))
    numerator = class_sum - total_square * (count_square / n**2)
    return numerator / (features.sqrt() * labels.sqrt())
