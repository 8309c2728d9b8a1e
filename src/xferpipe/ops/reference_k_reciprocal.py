"""Torch twins of the k-reciprocal ops; see reference.py."""

import math

import torch

BLOCK_ENTRIES = 1 << 24


def k_reciprocal_neighbours(query, gallery, norms, k, kept):
    """Return scores (N, k), items (N, k) and the lowest score (N) of every item among all N.

    `kept`, unless empty, receives the scores of the gallery for each query (q, m).
    """
    items = torch.cat([query, gallery]).double()
    step = max(1, BLOCK_ENTRIES // max(1, len(items)))
    scores, index, lowest = [], [], []
    for first in range(0, len(items), step):
        block = (items[first : first + step] @ items.T - 0.5 * norms).float()
        if kept.numel():
            own = kept[first : first + step]
            own.copy_(block[: len(own), len(query) :])
        best = block.sort(dim=1, descending=True, stable=True)
        scores.append(best.values[:, :k])
        index.append(best.indices[:, :k])
        lowest.append(block.amin(1))
    return torch.cat(scores), torch.cat(index), torch.cat(lowest)


def _reciprocal(near, item, depth):
    return [other for other in near[item][:depth] if item in near[other][:depth]]


def _weights(items, norms, lowest, near, item, k1):
    """Return {item: weight} of the expanded k-reciprocal set of one item."""
    half = round(k1 / 2) + 1
    own = _reciprocal(near, item, k1 + 1)
    members = set(own)
    for candidate in own:
        theirs = _reciprocal(near, candidate, half)
        if len(set(theirs) & set(own)) > 2 / 3 * len(theirs):
            members |= set(theirs)
    members = sorted(members)
    farthest = max(0.0, float(norms[item] - 2 * lowest[item].double()))
    score = items[members] @ items[item] - 0.5 * norms[members]
    distance = (norms[item] - 2 * score).clamp(min=0) / (farthest or 1.0)
    weight = torch.exp(-distance)
    return dict(zip(members, (weight / weight.sum()).tolist()))


def k_reciprocal_rows(query, gallery, norms, scores, index, lowest, k1, k2):
    """Return offsets (q + 1), gallery rows and Jaccard distances of the pairs that overlap."""
    items, near = torch.cat([query, gallery]).double(), index.tolist()
    weights = [_weights(items, norms, lowest, near, item, k1) for item in range(len(items))]
    expanded = []
    for item in range(len(items)):
        mean = {}
        for other in near[item][:k2]:
            for member, weight in weights[other].items():
                mean[member] = mean.get(member, 0.0) + weight / k2
        expanded.append(mean)
    holders = [[] for _ in items]
    for row in range(len(gallery)):
        for member, weight in expanded[len(query) + row].items():
            holders[member].append((row, weight))
    offsets, columns, values = [0], [], []
    for item in range(len(query)):
        overlap = {}
        for member, weight in expanded[item].items():
            for row, other in holders[member]:
                overlap[row] = overlap.get(row, 0.0) + min(weight, other)
        for row, shared in sorted(overlap.items()):
            columns.append(row)
            values.append(1 - shared / (2 - shared))
        offsets.append(len(columns))
    device = query.device
    assert all(math.isfinite(value) for value in values)
    return (
        torch.tensor(offsets, device=device),
        torch.tensor(columns, dtype=torch.int64, device=device),
        torch.tensor(values, dtype=torch.float32, device=device),
    )
