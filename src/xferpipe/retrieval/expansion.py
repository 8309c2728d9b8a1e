"""Query expansion: each query averaged with the gallery images that it finds first."""

from __future__ import annotations

from dataclasses import replace

import numpy
import torch

from xferpipe import ops
from xferpipe.retrieval.comparison import Comparison, Progress, told


def expanded(
    comparison: Comparison, neighbours: int, *, progress: Progress | None = None
) -> Comparison:
    """Replace each query by the mean of itself and its nearest gallery images.

    Labels play no part: the images averaged in may be wrong ones, or the query's own junk. Unit
    features are averaged as unit features.

    Args:
        comparison: Query and gallery features.
        neighbours: Gallery images averaged in; 0 changes nothing.
        progress: Called as blocks of the gallery are done.
    Returns:
        The comparison with other queries.
    Source:
        Chum et al., Total Recall, ICCV 2007 (average query expansion).
    """
    if neighbours == 0:
        return comparison
    _, rows = ops.nearest(
        comparison.query,
        comparison.gallery,
        neighbours,
        distance=comparison.distance,
        progress=told(progress, "expanding queries"),
    )
    total = _features(comparison.query, comparison)
    for column in rows.numpy().T:
        total += _features(comparison.gallery_rows(column), comparison)
    return replace(comparison, query=(total / (1 + rows.shape[1])).float())


def _features(features: torch.Tensor | numpy.ndarray, comparison: Comparison) -> torch.Tensor:
    """Return float64 features; those that the cosine distance scales are scaled here."""
    features = torch.as_tensor(numpy.asarray(features)).double()
    if comparison.distance == "cosine":
        return torch.nn.functional.normalize(features, dim=1, eps=1e-300)
    return features
