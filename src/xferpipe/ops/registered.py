"""The registered ops: what each gives back, and which kernels on a GPU are checked with it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

_registered = []


@dataclass(frozen=True)
class Op:
    """A registered op.

    Attributes:
        fake: Gives results of the right shape and dtype, for torch.compile and opcheck.
        family: Ops whose CUDA kernels are checked and used together; None where the op has none.
        by_cpu: On a GPU the CPU does it: sparse work.
    """

    fake: Callable
    family: str | None = None
    by_cpu: bool = False


def register():
    """Register a fake for each op, once, after the extension has defined them."""
    if _registered:
        return
    for name, op in OPS.items():
        torch.library.register_fake(f"xferpipe::{name}")(op.fake)
        _registered.append(name)


def _squared_norms(features):
    return features.new_empty((features.shape[0],), dtype=torch.float64)


def _rank_metrics_scores(query, gallery, gallery_norms, offsets, index, distance):
    return query.new_empty((index.shape[0],), dtype=torch.float32)


def _rank_metrics_nearer(query, gallery, gallery_norms, offsets, index, distance):
    return query.new_empty((index.shape[0],), dtype=torch.int64)


def _rank_metrics_counts(
    query, gallery, gallery_norms, offsets, index, scores, distance, first_row
):
    return query.new_empty((index.shape[0],), dtype=torch.int64)


def _rank_metrics_dense(distances, offsets, index):
    return distances.new_empty((index.shape[0],), dtype=torch.int64)


def _rank_metrics_pairs(query_identity, gallery_identity, query_camera, gallery_camera):
    pairs = torch.library.get_ctx().new_dynamic_size()
    offsets = query_identity.new_empty((query_identity.shape[0] + 1,))
    junk = query_identity.new_empty((pairs,), dtype=torch.bool)
    return offsets, query_identity.new_empty((pairs,)), junk


def _rank_metrics_summary(offsets, nearer, junk, ap_kind):
    queries = offsets.shape[0] - 1
    fractions = [nearer.new_empty((queries,), dtype=torch.float64) for _ in range(2)]
    counts = [nearer.new_empty((queries,), dtype=torch.int64) for _ in range(3)]
    return (*fractions, *counts)


def _nearest_scores(query, gallery, gallery_norms, k, distance, first_row):
    shape = (query.shape[0], k)
    return query.new_empty(shape, dtype=torch.float32), query.new_empty(shape, dtype=torch.int64)


def _column_sums(features, sums):
    return None


def _label_correlation_columns(features, labels, shift, gram, class_sums):
    return None


def _label_correlation_rows(features, labels, shift, gram, class_sums, along):
    return None


def _label_correlation_finish(gram, class_sums, class_counts, mean, along):
    return gram.new_empty((), dtype=torch.float64)


def _label_correlation_whole(features, labels, is_centered):
    return features.new_empty((), dtype=torch.float64)


def _gradient_gram(gradients, half, gram):
    return None


def _gradient_gram_factors(outputs, inputs, half, gram):
    return None


def _gradient_sketch_sparse(gradients, seed, first, out):
    return None


def _gradient_sketch_fold(gradients, seed, first, folded):
    return None


def _gradient_sketch_hadamard(folded, chosen, scale):
    return folded.new_empty((folded.shape[0], chosen.shape[0]), dtype=torch.float32)


def _gradient_sketch_dense(gradients, seed, first, p_total, normal, scale, half, out):
    return None


def _gradient_sketch_kronecker(outputs, inputs, k1, k2, k, seed):
    return outputs.new_empty((outputs.shape[0], k), dtype=torch.float32)


def _k_reciprocal_neighbours(query, gallery, norms, k, kept):
    n = query.shape[0] + gallery.shape[0]
    scores = query.new_empty((n, k), dtype=torch.float32)
    index = query.new_empty((n, k), dtype=torch.int64)
    return scores, index, query.new_empty((n,), dtype=torch.float32)


def _k_reciprocal_rows(query, gallery, norms, scores, index, lowest, k1, k2):
    entries = torch.library.get_ctx().new_dynamic_size()
    offsets = query.new_empty((query.shape[0] + 1,), dtype=torch.int64)
    columns = query.new_empty((entries,), dtype=torch.int64)
    return offsets, columns, query.new_empty((entries,), dtype=torch.float32)


OPS = {
    "squared_norms": Op(_squared_norms, "ranking"),
    "rank_metrics_pairs": Op(_rank_metrics_pairs, "ranking"),
    "rank_metrics_nearer": Op(_rank_metrics_nearer, "ranking"),
    "rank_metrics_scores": Op(_rank_metrics_scores, "ranking"),
    "rank_metrics_counts": Op(_rank_metrics_counts, "ranking"),
    "rank_metrics_dense": Op(_rank_metrics_dense, "ranking"),
    "rank_metrics_summary": Op(_rank_metrics_summary, "ranking"),
    "nearest_scores": Op(_nearest_scores, "nearest"),
    "k_reciprocal_neighbours": Op(_k_reciprocal_neighbours, "nearest"),
    "k_reciprocal_rows": Op(_k_reciprocal_rows, by_cpu=True),
    "column_sums": Op(_column_sums),
    "label_correlation_columns": Op(_label_correlation_columns),
    "label_correlation_rows": Op(_label_correlation_rows),
    "label_correlation_finish": Op(_label_correlation_finish),
    "label_correlation_whole": Op(_label_correlation_whole, "label_correlation"),
    "gradient_gram": Op(_gradient_gram, "gradient_gram"),
    "gradient_gram_factors": Op(_gradient_gram_factors, "gradient_gram"),
    "gradient_sketch_sparse": Op(_gradient_sketch_sparse, "gradient_sketch"),
    "gradient_sketch_fold": Op(_gradient_sketch_fold, "gradient_sketch"),
    "gradient_sketch_hadamard": Op(_gradient_sketch_hadamard, "gradient_sketch"),
    "gradient_sketch_dense": Op(_gradient_sketch_dense, "gradient_sketch"),
    "gradient_sketch_kronecker": Op(_gradient_sketch_kronecker, "gradient_sketch"),
}
FAMILIES = tuple(dict.fromkeys(op.family for op in OPS.values() if op.family))
