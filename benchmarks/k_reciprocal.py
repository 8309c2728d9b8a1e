"""k-reciprocal re-ranking, against a dense N x N baseline of our own."""

import numpy as np
import torch

from xferpipe import ops

from .common import Case
from .rank_metrics import features, torch_distances


def dense(query, gallery, k1=20, k2=6, lambda_=0.3):
    """Re-rank with dense N x N matrices in numpy, the way public code does."""
    items = torch.cat([query, gallery])
    dist = torch_distances(items, items).clamp_(min=0).numpy()
    dist /= dist.max(axis=1, keepdims=True)
    rank = np.argpartition(dist, range(k1 + 1), axis=1)[:, : k1 + 1]
    n, q = len(items), len(query)
    weights = np.zeros((n, n), dtype=np.float32)

    def reciprocal(i, depth):
        forward = rank[i, :depth]
        return forward[(rank[forward, :depth] == i).any(1)]

    for i in range(n):
        own = reciprocal(i, k1 + 1)
        members = own
        for candidate in own:
            theirs = reciprocal(candidate, round(k1 / 2) + 1)
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                members = np.append(members, theirs)
        members = np.unique(members)
        weight = np.exp(-dist[i, members])
        weights[i, members] = weight / weight.sum()
    weights = np.stack([weights[rank[i, :k2]].mean(0) for i in range(n)])
    holders = [np.flatnonzero(weights[:, j]) for j in range(n)]
    out = np.empty((q, n), dtype=np.float32)
    for i in range(q):
        shared = np.zeros(n, dtype=np.float32)
        for j in np.flatnonzero(weights[i]):
            shared[holders[j]] += np.minimum(weights[i, j], weights[holders[j], j])
        out[i] = (1 - lambda_) * (1 - shared / (2 - shared)) + lambda_ * dist[i]
    return out[:, q:]


SIZES = {"full": (1678, 11579, 2048), "quarter": (420, 2895, 2048), "quick": (60, 600, 64)}


def cases(size):
    """Return one case; all blocks of distances are made, as an evaluation would."""
    q, m, d = SIZES[size]
    query, gallery, *_ = features(q, m, d, 200, 20, 3.0)

    def ours():
        return sum(len(block) for block in ops.k_reciprocal(query, gallery).blocks())

    contenders = {
        "ours": ours,
        "baseline of ours: dense N x N in numpy": lambda: dense(query, gallery),
    }
    n = q + m
    operations = float(n) * (n + 1) * d
    return [Case(f"re-ranking of {q} x {m} x {d}", "ours", contenders, operations)]
