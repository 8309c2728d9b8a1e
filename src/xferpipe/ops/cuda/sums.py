"""Label correlation and gradient Gram matrices on the device; see products.py.

Arguments are those of the registered ops.
"""

import torch

from .products import (
    DEPTH,
    LEFT,
    RIGHT,
    WORKSPACE,
    add_symmetric,
    multiply,
    operands,
    padded,
    sums_bytes,
)

SLABS = 64  # multiplied at a time, at most
BUILT_BYTES = 2 << 30  # of gradients built from factors at a time


def float16_scale(largest):
    """Return the powers of two that bring numbers up to `largest` into float16, float32."""
    _, exponent = torch.frexp(largest.double())
    power = (15 - exponent).clamp(max=126)  # a float32 number too
    scale = torch.ldexp(torch.ones_like(largest, dtype=torch.float64), power)
    return torch.where(largest > 0, scale, 1.0).float()


def _slabs(count, size, planes):
    """Return how many slabs to multiply at a time, of `count`."""
    room = WORKSPACE // max(1, sums_bytes(size, planes))
    return max(1, min(count, room, SLABS))


def _column_stacks(kernels, features, shift, scale, planes, dtype):
    """Yield the columns of features for add_symmetric, DEPTH rows to a slab."""
    n, d = features.shape
    width, count = padded(d), -(-n // DEPTH)
    depth = padded(-(-n // count))
    step = _slabs(count, d, planes) * depth
    for first in range(0, n, step):
        rows = features[first : first + step]
        slabs = -(-len(rows) // depth)
        out = torch.empty((slabs * depth, planes, width), dtype=dtype, device=features.device)
        own = None if scale is None else scale[first : first + step]
        kernels.split(rows, shift, own, (planes - 1) << 1, out.transpose(0, 1))
        yield out.view(slabs, depth, planes * width).mT


def _row_stacks(kernels, rows, shift, scale, planes, dtype):
    """Yield the rows of a matrix for add_symmetric, DEPTH columns to a slab."""
    n, p = rows.shape
    size, count = padded(n), -(-p // DEPTH)
    depth = padded(-(-p // count))
    step = _slabs(count, n, planes) * depth
    for first in range(0, p, step):
        piece = rows[:, first : first + step]
        slabs = -(-piece.shape[1] // depth)
        out = torch.empty((planes, size, slabs * depth), dtype=dtype, device=rows.device)
        own = None if shift is None else shift[first : first + step]
        kernels.split(piece, own, scale, (planes - 1) << 1, out)
        yield out.view(planes * size, slabs, depth).transpose(0, 1)


def column_sums(kernels, features, sums):
    """Add each column's sum to `sums`, float64 (d), in place."""
    kernels.column_sums(features, sums)


def label_correlation_whole(kernels, features, labels, is_centered):
    """Correlate in one go, from centred features: nothing is lost to large means.

    With means m, centred class sums C and the Gram matrix G of the centred features, the raw
    features' numerator is sum |C_c|^2 + 2 sum n_c m.C_c, and their squared denominator |G|^2 + 2 n
    m^T G m times the labels'.
    """
    n, d = features.shape
    device = features.device
    ordered, order = labels.sort(stable=True)
    first = torch.ones(n + 1, dtype=torch.bool, device=device)  # of its class, and past the last
    torch.ne(ordered[1:], ordered[:-1], out=first[1:-1])
    starts = first.nonzero().flatten()
    counts = starts.diff().double()
    class_sums = torch.empty((len(counts), d), dtype=torch.float64, device=device)
    is_half = features.dtype == torch.bfloat16
    largest = torch.zeros(1, dtype=torch.int32, device=device) if is_half else None
    kernels.class_sums(features, order, starts, class_sums, largest)
    mean = class_sums.sum(0) / n
    class_sums -= counts[:, None] * mean
    if is_half:
        # bfloat16 features have eight bits, and one float16 part of what is centred eleven.
        power = float16_scale(largest.view(torch.float32).double() + mean.abs().max())
        how = (mean, power.expand(n).contiguous(), 1, torch.float16)
    else:
        how = (mean, None, 2, torch.bfloat16)
    size, stacks = (d, _column_stacks) if n >= d else (n, _row_stacks)
    gram = torch.zeros((size, size), dtype=torch.float64, device=device)
    cross = None if is_half else torch.zeros_like(gram)
    add_symmetric(kernels, gram, cross, stacks(kernels, features, *how))
    moments = kernels.gram_moments(gram, cross, mean if n >= d else None).sum(0)
    if is_half:
        moments = moments * torch.cat([power.double() ** -4, power.double() ** -2])
    square, along = moments
    count_square = counts.square().sum()
    numerator, whole, length = class_sums.square().sum(), square, mean @ mean
    if not is_centered:
        if n < d:
            along = (features.double() @ mean - length).square().sum()
        square = square + 2 * n * along
        numerator = numerator + 2 * (counts @ (class_sums @ mean))
        whole = square + (n * length) ** 2
    labels_part = count_square - count_square * (count_square / n**2)
    is_defined = (square > whole * 1e-13) & (labels_part > count_square * 1e-13)
    value = numerator / (square.sqrt() * labels_part.sqrt())
    return torch.where(is_defined, value, float("nan"))


def _gram(kernels, gram, rows, half, largest=None):
    """Add products of rows to the upper half of `gram`.

    `largest`, where known, bounds the magnitudes of each row.
    """
    if not half:
        cross = torch.zeros_like(gram)
        stacks = _row_stacks(kernels, rows, None, None, 2, torch.bfloat16)
        add_symmetric(kernels, gram, cross, stacks)
        gram += cross
        gram += cross.T
        return
    if largest is None:
        low, high = rows.aminmax(dim=1)
        largest = torch.maximum(-low, high)
    scale = float16_scale(largest)
    own = torch.zeros_like(gram)
    stacks = _row_stacks(kernels, rows, None, scale, 1, torch.float16)
    add_symmetric(kernels, own, None, stacks)
    gram += own / torch.outer(scale.double(), scale.double())


def gradient_gram(kernels, gradients, half, gram):
    """Add X X^T to the upper half of `gram`, float64 (n, n), in place.

    Args:
        kernels: The namespace of the CUDA kernels.
        gradients: float32 or bfloat16 (n, p).
        half: Round the rows, scaled by powers of two, to float16 once: half of the work.
        gram: float64 (n, n).
    """
    _gram(kernels, gram, gradients, half)


def gradient_gram_factors(kernels, outputs, inputs, half, gram):
    """Add <D_i A_i^T, D_j A_j^T> to the upper half of `gram`, in place; gradients are not kept."""
    n, channels, positions = outputs.shape
    width = inputs.shape[1]
    largest = None
    if half:  # an entry of D A^T is at most the product of the two norms
        norms = [kernels.squared_norms(part.flatten(1)) for part in (outputs, inputs)]
        largest = (norms[0] * norms[1]).sqrt()
    # Each row of a factor is an operand: positions are the depth.
    left, right = (
        [part.view(n, -1, part.shape[1]) for part in operands(kernels, factor, order)]
        for factor, order in (
            (outputs.reshape(-1, positions), LEFT),
            (inputs.reshape(-1, positions), RIGHT),
        )
    )
    step = max(1, BUILT_BYTES // max(1, 4 * n * width))
    for row in range(0, channels, step):
        built = None
        for own, other in zip(left, right, strict=True):
            built = multiply(own[:, row : row + step], other, built)
        _gram(kernels, gram, built.flatten(1), half, largest)
