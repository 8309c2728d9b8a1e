"""Label correlation, gradient Gram matrices and sketches on the device, by the launchers.

Arguments are those of the registered ops; nothing here waits for the device.
"""

import torch

from .launch import BLOCKS, At, Rows

SLAB_STEPS = 1024
# Of gradients built from factors at a time. The kernel builds 128 channels of a sample at once: if
# this were what a second-level cache holds, thousands of samples would leave its tile nearly empty.
BUILT_BYTES = 512 << 20
HASHED = 1 << 22


def column_sums(launch, features, sums):
    """Add each column's sum to `sums`, float64 (d), in place."""
    slabs = -(-features.shape[0] // SLAB_STEPS)
    partial = sums.new_empty((slabs, features.shape[1]))
    launch("column_sums", Rows(features), partial, sums)


def _shift(shift):
    return shift if shift.numel() else None


def _class_sums(launch, features, labels, shift, class_sums):
    ordered, order = labels.sort(stable=True)
    classes = class_sums.shape[0]
    starts = torch.searchsorted(ordered, torch.arange(classes + 1, device=labels.device))
    launch("class_sums", Rows(features), _shift(shift), order, starts, classes, class_sums)


def label_correlation_columns(launch, features, labels, shift, gram, class_sums):
    """Add F^T F to the upper half of `gram` and sums per class to `class_sums`, in place."""
    _class_sums(launch, features, labels, shift, class_sums)
    launch("symmetric", Rows(features), True, _shift(shift), 1, gram, None, None)


def label_correlation_rows(launch, features, labels, shift, gram, class_sums):
    """Add F F^T to the upper half of `gram` and sums per class to `class_sums`, in place."""
    _class_sums(launch, features, labels, shift, class_sums)
    launch("symmetric", Rows(features), False, _shift(shift), 1, gram, None, None)


def _correlate(launch, squares, class_sums, class_counts):
    classes, d = class_sums.shape
    moments = class_sums.new_empty((2 * -(-d // 256),))
    out = class_sums.new_empty(())
    arguments = (squares, len(squares), class_sums, classes, d, class_counts)
    launch("correlation", *arguments, moments, out)
    return out


def label_correlation_finish(launch, gram, class_sums, class_counts):
    """Correlate the Gram matrix with the label kernel from sums; NaN where one is constant."""
    squares = gram.new_empty((launch.symmetric_tiles(len(gram)),))
    launch("gram_squares", gram, len(gram), squares)
    return _correlate(launch, squares, class_sums, class_counts)


def label_correlation_whole(launch, features, labels, shift, class_counts):
    """Correlate in one go: the Gram matrix of the smaller side is squared tile by tile."""
    n, d = features.shape
    class_sums = features.new_zeros((len(class_counts), d), dtype=torch.float64)
    _class_sums(launch, features, labels, shift, class_sums)
    columns = n >= d
    tiles = launch.symmetric_tiles(d if columns else n)
    squares = class_sums.new_empty((tiles,))
    launch("symmetric", Rows(features), columns, _shift(shift), 1, None, None, squares)
    return _correlate(launch, squares, class_sums, class_counts)


def gradient_gram(launch, gradients, gram):
    """Add X X^T to the upper half of `gram`, float64 (n, n), in place.

    Few tiles of a deep product are split along the depth, and the parts are added in order.
    """
    n, p = gradients.shape
    tiles = launch.symmetric_tiles(n)
    parts = min(max(1, BLOCKS // max(1, tiles)), max(1, -(-p // SLAB_STEPS)))
    sums = gram.new_empty((parts * tiles * 128 * 128,)) if parts > 1 else None
    launch("symmetric", Rows(gradients), False, None, parts, gram, sums, None)


def gradient_gram_factors(launch, outputs, inputs, gram):
    """Add <D_i A_i^T, D_j A_j^T> to the upper half of `gram`, in place; gradients are not kept."""
    n, channels, positions = outputs.shape
    width = inputs.shape[1]
    step = max(1, BUILT_BYTES // max(1, 4 * n * width))
    for row in range(0, channels, step):
        rows = min(step, channels - row)
        built = outputs.new_empty((n, rows * width))
        arguments = (At(outputs[:, row:]), inputs, n, rows, width, positions)
        strides = (channels * positions, width * positions)
        launch("gradient_outer", *arguments, *strides, rows * width, 1.0, built)
        gradient_gram(launch, built, gram)


def gradient_sketch_sparse(launch, gradients, seed, first, out):
    """Add signed coordinates to their buckets, float32 (n, k), in place."""
    k = out.shape[1]
    for start in range(0, gradients.shape[1], HASHED):
        piece = gradients[:, start : start + HASHED]
        count = piece.shape[1]
        table = out.new_empty((count,), dtype=torch.int32)
        turns = out.new_empty((count,), dtype=torch.uint8)
        launch("gradient_sketch_hash", seed % 2**64, first + start, count, k, table, turns)
        launch("gradient_sketch_sparse", Rows(piece), k, table, turns, out)


def gradient_sketch_fold(launch, gradients, seed, first, folded):
    """Add signed coordinates, wrapped around the width of `folded`, float32 (n, size), in place."""
    block, end = first // 128, -(-(first + gradients.shape[1]) // 128)
    signs = folded.new_empty((4 * (end - block),), dtype=torch.int32)
    launch("gradient_sketch_signs", seed % 2**64, block, end - block, signs)
    launch("gradient_sketch_fold", Rows(gradients), folded.shape[1], first, signs, folded)


def gradient_sketch_hadamard(launch, folded, chosen, scale):
    """Return chosen rows of the Walsh-Hadamard transform of each row, float32 (n, k)."""
    values = folded.clone(memory_format=torch.contiguous_format)
    launch("gradient_sketch_hadamard", values, *values.shape)
    return values[:, chosen] * scale


def gradient_sketch_dense(launch, gradients, seed, first, p_total, normal, scale, out):
    """Add scale * X R^T to `out`, float32 (n, k), in place; R is made inside the tiles."""
    arguments = (out.shape[1], seed % 2**64, first, p_total, normal, scale)
    launch("gradient_sketch_dense", Rows(gradients), *arguments, out)


def gradient_sketch_kronecker(launch, outputs, inputs, k1, k2, k, seed):
    """Return the first k entries of (R1 D_i)(R2 A_i)^T / sqrt(k), float32 (n, k)."""
    n, _, positions = outputs.shape
    small = outputs.new_zeros((n, k1, positions))
    wide = outputs.new_zeros((n, k2, positions))
    for factor, rows, is_left, into in ((outputs, k1, True, small), (inputs, k2, False, wide)):
        arguments = (n, factor.shape[1], positions, rows, seed % 2**64, is_left)
        launch("gradient_sketch_factor", factor, *arguments, into)
    out = outputs.new_empty((n, k))
    strides = (k1 * positions, k2 * positions)
    launch("gradient_outer", small, wide, n, k1, k2, positions, *strides, k, k**-0.5, out)
    return out
