"""Correlation of feature similarity with label agreement (LFC), streaming."""

import threading

import torch

from . import inputs, mapped
from .loading import call

SLAB_ROWS = 1024
KEPT_BYTES = 64 << 20
_kept = threading.local()


def _zeros(size):
    """Return a zeroed (size, size) float64 matrix, kept between calls.

    The page faults of a fresh one cost several percent of a small problem.
    """
    if 8 * size * size > KEPT_BYTES:
        return torch.zeros((size, size), dtype=torch.float64)
    gram = getattr(_kept, "gram", None)
    if gram is None or len(gram) != size:
        gram = _kept.gram = torch.empty((size, size), dtype=torch.float64)
    return gram.zero_()


def label_correlation(features, labels, *, centered=False, chunk_rows=None):
    """Correlate all n^2 feature inner products with label agreement, without an n x n matrix.

    The Gram matrix of the smaller side is that of the centred features, summed in float32 slabs of
    1,024 (on a GPU 2,048) and float64 between them; what the mean adds to it follows in float64, so
    that a large mean or a massive channel costs no digits. float16 input, and float64 input less
    its mean, is converted to float32 in chunks; the classes' sums of float64 input stay float64.
    The result has the same bits for any chunk size and number of threads.

    Args:
        features: Tensor, array or memory-mapped array, floating point (n, d).
        labels: Class of each sample, integers (n).
        centered: Subtract the mean feature first; for balanced classes the score is then linear
            CKA of the features with one-hot labels.
        chunk_rows: Rows per chunk of a stream, rounded up to a multiple of 1,024; None reads
            float32 and bfloat16 in place, and what is mapped from disk a block at a time. Features
            on a GPU are always read in place.

    Returns:
        The Pearson correlation over all n^2 entries, diagonal included; a fraction, -1 to 1.

    Raises:
        ValueError: fewer than two samples or classes, features constant, a row holds NaN or
            infinity, or the labels do not fit the features.

    Source:
        Deshpande et al., arXiv 2102.00084, section 4 (raw features); closed form in
        docs/kernels.md.
    """
    source, features = features, inputs.as_matrix(features, "features")
    n, d = features.shape
    device = features.device
    labels = inputs.as_labels(labels, n, "labels", "features", device)
    if n < 2 or d < 1:
        raise ValueError(f"features has shape {(n, d)}: a correlation needs two samples or more")
    if device.type != "cpu":
        # What lies on a GPU fits there: nothing is streamed.
        block = inputs.native(features, device)
        value = float(call("label_correlation_whole", block, labels, centered))
        if value != value:
            _require_classes(labels.unique(), n)
        return _defined(value, features, device, chunk_rows)
    names, classes, counts = labels.unique(return_inverse=True, return_counts=True)
    _require_classes(names, n)
    float64 = {"dtype": torch.float64, "device": device}
    if chunk_rows is not None:
        chunk_rows = -(-max(1, chunk_rows) // SLAB_ROWS) * SLAB_ROWS

    mean = _mean(features, device, chunk_rows, source)
    # Rounded before its mean is taken away, a float64 feature far from zero would lose digits.
    less = mean if features.dtype == torch.float64 else None
    shift = mean if less is None else torch.zeros(d, **float64)
    along = torch.zeros(1 if n < d else 0, **float64)
    class_sums = torch.zeros((len(names), d), **float64)
    if n < d:
        gram = _zeros(n)
        ((_, block),) = inputs.blocks(features, device, n, source=source, less=less)
        call("label_correlation_rows", block, classes, shift, gram, class_sums, along)
        if less is not None:
            along = (block.double() @ mean).square().sum()[None]
    else:
        gram = _zeros(d)
        for first, block in inputs.blocks(features, device, chunk_rows, source=source, less=less):
            own = classes[first : first + block.shape[0]]
            call("label_correlation_columns", block, own, shift, gram, class_sums)
    if less is not None:
        class_sums = _class_sums(features, classes, mean, counts, source)
    along_mean = mean[:0] if centered else mean
    value = float(call("label_correlation_finish", gram, class_sums, counts, along_mean, along))
    return _defined(value, features, device, chunk_rows)


def _mean(features, device, chunk_rows, source):
    """Return the mean feature, float64 (d), from sums in the order of the rows."""
    n, d = features.shape
    sums = torch.zeros(d, dtype=torch.float64, device=device)
    if features.dtype == torch.float64:
        for rows in features.split(SLAB_ROWS):
            sums += rows.sum(0)
            mapped.release(source)
    else:
        for _, block in inputs.blocks(features, device, chunk_rows, source=source):
            call("column_sums", block, sums)
    return sums / n


def _class_sums(features, classes, mean, counts, source):
    """Return the sums of each class's float64 features less the mean (c, d).

    Of features far from zero they are multiplied by a mean that is many times as large as they are:
    those of features that were rounded to float32 would leave nothing of the correlation.
    """
    sums = torch.zeros((len(counts), len(mean)), dtype=torch.float64, device=mean.device)
    for rows, own in zip(features.split(SLAB_ROWS), classes.split(SLAB_ROWS)):
        sums.index_add_(0, own, rows - mean)
        mapped.release(source)
    # The mean is rounded too; what it leaves is no class's.
    return sums - sums.sum(0) * (counts / len(features))[:, None]


def _require_classes(names, n):
    if len(names) < 2:
        raise ValueError(f"all {n} labels are {int(names[0])}: a correlation needs two classes")


def _defined(value, features, device, chunk_rows):
    """Return the value, or say what is wrong with the features where it is NaN."""
    if value != value:
        for first, block in inputs.blocks(features, device, chunk_rows):
            inputs.require_finite(call("squared_norms", block), "features", first)
        raise ValueError(
            "the features are constant (all inner products are equal): the correlation is undefined"
        )
    return value
