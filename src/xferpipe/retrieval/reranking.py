"""k-reciprocal re-ranking: images whose neighbours name each other come first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy
import torch

from xferpipe import ops
from xferpipe.config.retrieval import Retrieval
from xferpipe.ops import inputs, mapped
from xferpipe.retrieval.comparison import Comparison, Progress
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.query_figures import QueryFigures, check_positives
from xferpipe.retrieval.ranked_lists import RankedLists, judged

#: Distances of one dense block, in float32: the q x m matrix is never there as a whole.
_BLOCK_BYTES = 8 << 20
#: A sort holds several times the block it sorts.
_SORT_SHARE = 4


class Reranking:
    """Re-ranked distances of a comparison, a few queries at a time.

    Args:
        comparison: Query and gallery features. They are held in memory, a mapped gallery too:
            every image is compared with every other.
        options: `rerank_k1`, `rerank_k2` and `rerank_lambda`.
        progress: Told that neighbours are being found, which is one step.
    Raises:
        ValueError: There are fewer images than k1 asks for, or an option is out of its range.
    Source:
        Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017.
    """

    def __init__(
        self, comparison: Comparison, options: Retrieval, *, progress: Progress | None = None
    ) -> None:
        if progress is not None:
            progress("finding reciprocal neighbours", 0, 0)
        _check(options, len(comparison.query) + len(comparison.gallery))
        query, gallery = _euclidean(comparison)
        self._distances = ops.k_reciprocal(
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
        positives, junk = check_positives(labels)

        blocks = self._blocks("re-ranking", len(positives), progress)
        found = ops.rank_metrics_from_distances(blocks, **labels.as_arguments(), ap_kind=ap_kind)
        return QueryFigures(
            found.ap.numpy(), found.inp.numpy(), found.first_hit.numpy(), positives, junk
        )

    def lists(self, labels: Labels, k: int, *, progress: Progress | None = None) -> RankedLists:
        """List the k first gallery images of each query; ties by gallery row."""
        rows, distances = [], []
        step = max(1, self._at_once // _SORT_SHARE)
        for block in self._blocks("listing", len(labels.query_identity), progress, step):
            ordered = block.sort(dim=1, stable=True)
            # Copies: a view would keep the whole block, and all of them are the q x m matrix.
            rows.append(ordered.indices[:, :k].clone())
            distances.append(ordered.values[:, :k].clone())
        return judged(torch.cat(rows).numpy(), torch.cat(distances).double().numpy(), labels)

    def _blocks(
        self, words: str, queries: int, progress: Progress | None, step: int | None = None
    ) -> Iterator[torch.Tensor]:
        done = 0
        for block in self._distances.blocks(step or self._at_once):
            yield block
            done += len(block)
            if progress is not None:
                progress(words, done, queries)


def _check(options: Retrieval, images: int) -> None:
    k1, k2, lambda_ = options.rerank_k1, options.rerank_k2, options.rerank_lambda
    if not 1 <= k1 < images:
        raise ValueError(
            f"re-ranking looks at rerank_k1 (--k1) = {k1} neighbours of each image, but there are "
            f"{images} queries and gallery images: rerank_k1 may be 1 .. {images - 1}"
        )
    if not 1 <= k2 <= k1 + 1:
        raise ValueError(f"rerank_k2 (--k2) is {k2}; expected 1 .. rerank_k1 + 1 = {k1 + 1}")
    if not 0 <= lambda_ <= 1:
        raise ValueError(f"rerank_lambda (--lambda) is {lambda_}; expected 0 .. 1")


def _euclidean(comparison: Comparison) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features whose Euclidean distance orders as the comparison's: unit ones for cosine."""
    query = comparison.query.float()
    gallery = comparison.gallery
    if mapped.is_mapped(gallery):
        gallery = numpy.array(gallery)
        mapped.release(comparison.gallery)
    gallery = inputs.as_matrix(gallery, "gallery").float()
    if comparison.distance == "cosine":
        query, gallery = (torch.nn.functional.normalize(part, dim=1) for part in (query, gallery))
    return query, gallery
