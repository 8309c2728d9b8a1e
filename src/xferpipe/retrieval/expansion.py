"""Query expansion: each query averaged with the gallery images that it finds first."""

from __future__ import annotations

from dataclasses import replace

import numpy
import torch

from xferpipe import ops
from xferpipe.retrieval.comparison import Comparison, Progress, told


def expanded(
    comparison: Comparison,
    neighbours: int,
    *,
    alpha: float = 0.0,
    progress: Progress | None = None,
) -> Comparison:
    """Replace each query by the mean of itself and its nearest gallery images.

    Labels play no part: the images averaged in may be wrong ones, or the query's own junk. Unit
    features are averaged as unit features.

    Args:
        comparison: Query and gallery features.
        neighbours: Gallery images averaged in; 0 changes nothing.
        alpha: A neighbour has the weight cosine^alpha, and none where the cosine is negative; the
            query has weight 1. 0: all have.
        progress: Called as blocks of the gallery are done.
    Returns:
        The comparison with other queries.
    Raises:
        ValueError: alpha is negative, or features are not of unit length, so that weights by
            cosine would not fit the distance.
    Source:
        Chum et al., Total Recall, ICCV 2007 (average query expansion); Radenovic et al., TPAMI
        2019, section 3.3 (alpha).
    """
    if alpha < 0 or (alpha > 0 and not comparison.unit):
        raise ValueError(
            f"alpha (--alpha) is {alpha}: weights are cosines to this power, so it must not be "
            "negative, and goes with distance cosine or with normalised features (--normalised)"
        )
    if alpha > 0 and neighbours == 0:
        raise ValueError("alpha (--alpha) weighs the images of query_expansion (--query-expansion)")
    if neighbours == 0:
        return comparison
    _, rows = ops.nearest(
        comparison.query,
        comparison.gallery,
        neighbours,
        distance=comparison.distance,
        progress=told(progress, "expanding queries"),
    )
    query = _features(comparison.query, comparison)
    total, weights = query.clone(), torch.ones((len(query), 1), dtype=torch.float64)
    for column in rows.numpy().T:
        near = _features(comparison.gallery_rows(column), comparison)
        if alpha > 0:
            # Between unit features; a vector that was taken off all of them plays no part.
            cosine = 1 - (near - query).square().sum(1, keepdim=True) / 2
            weight = cosine.clamp(min=0) ** alpha
        else:
            weight = torch.ones_like(weights)
        total += weight * near
        weights += weight
    return replace(comparison, query=(total / weights).float())


def _features(features: torch.Tensor | numpy.ndarray, comparison: Comparison) -> torch.Tensor:
    """Return float64 features; those that the cosine distance scales are scaled here."""
    features = torch.as_tensor(numpy.asarray(features)).double()
    if comparison.distance == "cosine":
        return torch.nn.functional.normalize(features, dim=1, eps=1e-300)
    return features
