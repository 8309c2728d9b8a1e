"""Exact k-reciprocal re-ranking on sparse rows."""

import math
from dataclasses import dataclass

import torch

from . import inputs
from .loading import call

KEPT_BYTES = 128 << 20  # scores of the gallery for each query are kept up to here, else made again


@dataclass(frozen=True)
class SparseRows:
    """Re-ranked distances, kept as what differs from the plain ones.

    The re-ranked distance of a query and a gallery item is (1 - lambda) Jaccard + lambda plain,
    where Jaccard is 1 for all pairs not listed and plain is the squared Euclidean distance over the
    largest one of its query.

    Attributes:
        offsets: Where each query's entries start, int64 (q + 1).
        index: Gallery rows, ascending within a query, int64 (entries).
        values: Jaccard distances, fractions, float32 (entries).
        farthest: Largest squared distance of each query to any query or gallery item, float64 (q).
        lambda_: Share of the plain distance.
        query: Features (q, d).
        gallery: Features (m, d).
        query_norms: Squared norms of the queries, float64 (q).
        gallery_norms: Squared norms of the gallery, float64 (m).
        scores: q.g - |g|^2 / 2, float32 (q, m), where that is small enough to be kept; else (0).
    """

    offsets: torch.Tensor
    index: torch.Tensor
    values: torch.Tensor
    farthest: torch.Tensor
    lambda_: float
    query: torch.Tensor
    gallery: torch.Tensor
    query_norms: torch.Tensor
    gallery_norms: torch.Tensor
    scores: torch.Tensor

    def blocks(self, rows=64):
        """Yield re-ranked distances of consecutive queries, float32 (up to `rows`, m).

        `rank_metrics_from_distances` takes them as they come, so no q x m matrix exists.
        """
        half = (0.5 * self.gallery_norms).float()
        scale = torch.where(self.farthest > 0, self.lambda_ / self.farthest, 0.0)
        for first in range(0, self.query.shape[0], rows):
            own = slice(first, first + rows)
            if self.scores.numel():
                score = self.scores[own]
            else:
                # Cast in pieces: a bfloat16 gallery is small, a second float32 copy need not be.
                score = (self.query[own].float() @ self.gallery.float().T).sub_(half)
            # lambda max(0, |q|^2 - 2 score) / farthest + 1 - lambda
            base = (self.query_norms[own] * scale[own]).float()[:, None]
            block = score * (-2 * scale[own]).float()[:, None]
            block.add_(base).clamp_(min=0).add_(1 - self.lambda_)
            start, end = int(self.offsets[first]), int(self.offsets[own.start + len(block)])
            length = self.offsets[first : first + len(block) + 1].diff()
            row = torch.repeat_interleave(torch.arange(len(block), device=block.device), length)
            change = (1 - self.lambda_) * (self.values[start:end] - 1)
            block.index_put_((row, self.index[start:end]), change, accumulate=True)
            yield block

    def dense(self):
        """Return all re-ranked distances, float32 (q, m)."""
        parts = list(self.blocks())
        return torch.cat(parts) if parts else self.query.new_empty((0, len(self.gallery)))


def k_reciprocal(query, gallery, *, k1=20, k2=6, lambda_=0.3):
    """Re-rank by k-reciprocal neighbours, exactly and without an N x N matrix.

    Args:
        query: Features, floating point (q, d).
        gallery: Features (m, d): a tensor, an array or a memory-mapped array.
        k1: Neighbours that must be reciprocal.
        k2: Neighbours whose weights are averaged.
        lambda_: Share of the plain distance, fraction.

    Returns:
        SparseRows; `.blocks()` gives distances for `rank_metrics_from_distances`.

    Raises:
        ValueError: fewer than k1 + 1 items in all, k2 outside 1 .. k1 + 1, lambda_ outside 0 .. 1,
            d differs, or a row holds NaN or infinity or is too long for float32 products.

    Source:
        Zhong et al., CVPR 2017 (squared Euclidean distances over the largest of each row).
    """
    query, gallery = inputs.as_matrix(query, "query"), inputs.as_matrix(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query has {query.shape[1]} features but gallery has {gallery.shape[1]}: both must "
            "come from one model and layer"
        )
    n = query.shape[0] + gallery.shape[0]
    if k1 < 1 or n < k1 + 1:
        raise ValueError(
            f"k1 is {k1} but there are {n} queries and gallery items: k1 must be 1 .. {n - 1}"
        )
    if not 1 <= k2 <= k1 + 1:
        raise ValueError(f"k2 is {k2} but must be 1 .. k1 + 1 = {k1 + 1}")
    if not 0 <= lambda_ <= 1:
        raise ValueError(f"lambda_ is {lambda_} but must be 0 .. 1")
    device = query.device
    query, gallery = inputs.native(query, device), inputs.native(gallery, device)
    if query.dtype != gallery.dtype:
        query, gallery = query.float(), gallery.float()
    norms = [call("squared_norms", query), call("squared_norms", gallery)]
    conditions = inputs.Conditions()
    for name, own in zip(("query", "gallery"), norms):
        conditions.require_comparable(own, name, inputs.DISTANCES["euclidean"])
    shape = (query.shape[0], gallery.shape[0])
    kept = torch.empty(shape if 4 * math.prod(shape) <= KEPT_BYTES else (0,), device=device)
    items = torch.cat(norms)
    found = call("k_reciprocal_neighbours", query, gallery, items, k1 + 1, kept)
    conditions.settle()
    rows = call("k_reciprocal_rows", query, gallery, items, *found, k1, k2)
    farthest = (norms[0] - 2 * found[2][: len(query)].double()).clamp(min=0)
    return SparseRows(*rows, farthest, lambda_, query, gallery, *norms, kept)
