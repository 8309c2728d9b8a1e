"""Definitions, computed the slow way in float64 by code that shares nothing with the ops."""

import numpy as np


def label_correlation(features, labels, centered=False):
    features = np.asarray(features, dtype=np.float64)
    if centered:
        features = features - features.mean(0)
    theta = (features @ features.T).ravel()
    labels = np.asarray(labels)
    agreement = np.where(labels[:, None] == labels[None, :], 1.0, -1.0).ravel()
    theta = theta - theta.mean()
    agreement = agreement - agreement.mean()
    return float(theta @ agreement / np.sqrt((theta @ theta) * (agreement @ agreement)))


def distances(query, gallery, distance):
    query, gallery = (np.asarray(x, dtype=np.float64) for x in (query, gallery))
    if distance == "cosine":
        norm = [np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery)]
        query, gallery = (
            np.divide(x, s, out=np.zeros_like(x), where=s > 0)
            for x, s in zip((query, gallery), norm)
        )
        return np.maximum(0.0, 1.0 - query @ gallery.T)
    return (
        np.stack([np.square(gallery - row).sum(1) for row in query])
        if len(query)
        else (np.zeros((0, len(gallery))))
    )


def metrics_of_one(ordered_hits, ap_kind):
    """`ordered_hits`: True where the item at that rank is a hit, junk already taken out."""
    ranks = np.flatnonzero(ordered_hits)
    if len(ranks) == 0:
        return float("nan"), float("nan"), 0
    total = 0.0
    for seen, rank in enumerate(ranks):
        here = (seen + 1) / (rank + 1)
        if ap_kind == "trapezoid":
            before = 1.0 if rank == 0 else seen / rank
            here = (here + before) / 2
        total += here
    return total / len(ranks), len(ranks) / (ranks[-1] + 1), int(ranks[0]) + 1


def rank_metrics(dist, hit, junk, ap_kind="step"):
    """dist, hit, junk: (q, m). Ties go to the smaller column."""
    rows = []
    for d, h, j in zip(dist, hit, junk):
        order = np.argsort(d, kind="stable")
        order = order[~j[order]]
        rows.append((*metrics_of_one(h[order] & ~j[order], ap_kind), (h & ~j).sum(), j.sum()))
    return [np.array(column) for column in zip(*rows)]
