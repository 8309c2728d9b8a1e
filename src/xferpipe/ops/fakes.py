"""Shapes and dtypes of the registered ops, for torch.compile and opcheck."""

import torch

_registered = []


def register():
    """Register a fake for each op, once, after the extension has defined them."""
    if _registered:
        return
    for name, fake in FAKES.items():
        torch.library.register_fake(f"xferpipe::{name}")(fake)
        _registered.append(name)


def _squared_norms(features):
    return features.new_empty((features.shape[0],), dtype=torch.float64)


def _rank_metrics_scores(query, gallery, gallery_norms, offsets, index, distance):
    return query.new_empty((index.shape[0],), dtype=torch.float32)


def _rank_metrics_counts(
    query, gallery, gallery_norms, offsets, index, scores, distance, first_row
):
    return query.new_empty((index.shape[0],), dtype=torch.int64)


def _rank_metrics_dense(distances, offsets, index):
    return distances.new_empty((index.shape[0],), dtype=torch.int64)


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


def _label_correlation_accumulate(features, labels, shift, gram, class_sums):
    return None


def _label_correlation_finish(gram, class_sums, class_counts):
    return gram.new_empty((), dtype=torch.float64)


def _label_correlation_whole(features, labels, shift, class_counts):
    return features.new_empty((), dtype=torch.float64)


def _gradient_gram(gradients, gram):
    return None


def _gradient_gram_factors(outputs, inputs, gram):
    return None


def _gradient_sketch_sparse(gradients, seed, first, out):
    return None


def _gradient_sketch_fold(gradients, seed, first, folded):
    return None


def _gradient_sketch_hadamard(folded, chosen, scale):
    return folded.new_empty((folded.shape[0], chosen.shape[0]), dtype=torch.float32)


def _gradient_sketch_dense(gradients, seed, first, p_total, normal, scale, out):
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


FAKES = {
    "k_reciprocal_neighbours": _k_reciprocal_neighbours,
    "k_reciprocal_rows": _k_reciprocal_rows,
    "squared_norms": _squared_norms,
    "rank_metrics_scores": _rank_metrics_scores,
    "rank_metrics_counts": _rank_metrics_counts,
    "rank_metrics_dense": _rank_metrics_dense,
    "rank_metrics_summary": _rank_metrics_summary,
    "nearest_scores": _nearest_scores,
    "column_sums": _column_sums,
    "label_correlation_columns": _label_correlation_accumulate,
    "label_correlation_rows": _label_correlation_accumulate,
    "label_correlation_finish": _label_correlation_finish,
    "label_correlation_whole": _label_correlation_whole,
    "gradient_gram": _gradient_gram,
    "gradient_gram_factors": _gradient_gram_factors,
    "gradient_sketch_sparse": _gradient_sketch_sparse,
    "gradient_sketch_fold": _gradient_sketch_fold,
    "gradient_sketch_hadamard": _gradient_sketch_hadamard,
    "gradient_sketch_dense": _gradient_sketch_dense,
    "gradient_sketch_kronecker": _gradient_sketch_kronecker,
}
