"""k-reciprocal re-ranking: images whose neighbours name each other come first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy
import torch

from xferpipe import ops
from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.comparison import Comparison
from xferpipe.retrieval.figures import Progress, QueryFigures, by_query
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.ranked_lists import RankedLists, judged

#: Distances of one dense block, in float32: the q x m matrix is never there as a whole.
_BLOCK_BYTES = 32 << 20


class Reranking:
    """Re-ranked distances of a comparison, a few queries at a time.

    Source:
        Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017.
    """

    def __init__(self, comparison: Comparison, options: Retrieval) -> None:
        query, gallery = _euclidean(comparison)
        self._rows = ops.k_reciprocal(
            query,
            gallery,
            k1=options.rerank_k1,
            k2=options.rerank_k2,
            lambda_=options.rerank_lambda,
        )
        self._at_once = max(1, _BLOCK_BYTES // (4 * max(1, len(gallery))))

    def rank(
        self, labels: Labels, *, ap_kind: str = "step", progress: Progress | None = None
    ) -> QueryFigures:
        """Score the re-ranked lists; as `figures.rank`."""

        def of(rows: numpy.ndarray) -> ops.RankMetrics:
            return ops.rank_metrics_from_distances(
                self._distances(rows), **labels.queries(rows).as_arguments(), ap_kind=ap_kind
            )

        return by_query(labels, of, self._at_once, progress)

    def lists(self, labels: Labels, k: int) -> RankedLists:
        """List the k first gallery images of each query; ties by gallery row."""
        rows, distances = [], []
        for block in self._blocks(len(labels.query_identity)):
            ordered = self._distances(block).sort(dim=1, stable=True)
            rows.append(ordered.indices[:, :k])
            distances.append(ordered.values[:, :k])
        return judged(torch.cat(rows).numpy(), torch.cat(distances).double().numpy(), labels)

    def _blocks(self, queries: int) -> Iterator[numpy.ndarray]:
        for first in range(0, queries, self._at_once):
            yield numpy.arange(first, min(queries, first + self._at_once))

    def _distances(self, rows: numpy.ndarray) -> torch.Tensor:
        """Return re-ranked distances of some queries to the whole gallery, float32 (b, m)."""
        return self._rows.dense(rows)


def _euclidean(comparison: Comparison) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features whose Euclidean distance is the comparison's: unit vectors for cosine."""
    query = comparison.query.float()
    gallery = torch.as_tensor(numpy.asarray(comparison.gallery)).float()
    if comparison.distance == "cosine":
        query, gallery = (torch.nn.functional.normalize(part, dim=1) for part in (query, gallery))
    return query, gallery
