"""Label correlation and gradient Gram matrices on the device; see products.py.

Arguments are those of the registered ops.
"""

import torch

from .products import (
    DEPTH,
    LEFT,
    NO_TAIL,
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


def _slabs(count, size, planes):
    """Return how many slabs to multiply at a time, of `count`: as often as possible alike."""
    room = max(1, min(WORKSPACE // max(1, sums_bytes(size, planes)), SLABS))
    return -(-count // -(-count // room))


def _column_stacks(kernels, features, shift, scale, planes, dtype):
    """Yield columns of features for add_symmetric, DEPTH rows to a slab; `scale` (1) is of all."""
    n, d = features.shape
    width, count = padded(d), -(-n // DEPTH)
    depth = padded(-(-n // count))
    step = _slabs(count, d, planes) * depth
    for first in range(0, n, step):
        rows = features[first : first + step]
        slabs = -(-len(rows) // depth)
        out = torch.empty((slabs * depth, planes, width), dtype=dtype, device=features.device)
        lows = (planes - 1) << 1
        kernels.split(rows, shift, scale, None, NO_TAIL, lows, out.transpose(0, 1))
        yield out.view(slabs, depth, planes * width).mT


def _row_stacks(kernels, rows, shift, scale, planes, dtype):
    """Yield the rows of a matrix for add_symmetric, DEPTH columns to a slab."""
    n, p = rows.shape
    if not p:
        return
    size, count = padded(n), -(-p // DEPTH)
    depth = padded(-(-p // count))
    step = _slabs(count, n, planes) * depth
    for first in range(0, p, step):
        piece = rows[:, first : first + step]
        slabs = -(-piece.shape[1] // depth)
        out = torch.empty((planes, size, slabs * depth), dtype=dtype, device=rows.device)
        own = None if shift is None else shift[first : first + step]
        kernels.split(piece, own, scale, None, NO_TAIL, (planes - 1) << 1, out)
        yield out.view(planes * size, slabs, depth).transpose(0, 1)


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
    class_sums = torch.empty((len(starts) - 1, d), dtype=torch.float64, device=device)
    largest = torch.zeros(1, dtype=torch.int32, device=device)
    kernels.class_sums(features, order, starts, class_sums, largest)
    mean, class_partial = kernels.class_moments(class_sums, starts, n)
    # Features of any size: else products of tiny ones would vanish, and of large ones overflow.
    power = kernels.float16_scale(largest.view(torch.float32))
    size, stacks = (d, _column_stacks) if n >= d else (n, _row_stacks)
    gram = torch.zeros((size, size), dtype=torch.float64, device=device)
    cross = torch.zeros_like(gram)
    add_symmetric(kernels, gram, cross, stacks(kernels, features, mean, power, 2, torch.bfloat16))
    gram_partial = kernels.gram_moments(gram, cross, mean if n >= d else None)
    along = None
    if n < d and not is_centered:
        along = (features.double() @ mean - mean @ mean).square().sum()
    return kernels.correlation(
        class_partial, gram_partial, starts, n, not is_centered, power, along
    )


def _add_gram(kernels, gram, pieces, half, largest):
    """Add products of rows to the upper half of `gram`.

    Args:
        kernels: The namespace of the CUDA kernels.
        gram: float64 (n, n).
        pieces: Iterable of float32 or bfloat16 (n, columns).
        half: Round the rows, scaled by powers of two, to float16 once.
        largest: With `half` a bound of the magnitudes of each row, float32 (n).
    """
    if not len(gram):
        return
    planes, dtype = (1, torch.float16) if half else (2, torch.bfloat16)
    scale = kernels.float16_scale(largest) if half else None
    own, cross = torch.zeros_like(gram), None if half else torch.zeros_like(gram)
    stacks = (
        stack
        for piece in pieces
        for stack in _row_stacks(kernels, piece, None, scale, planes, dtype)
    )
    add_symmetric(kernels, own, cross, stacks)
    if half:
        own /= torch.outer(scale.double(), scale.double())
    else:
        own += cross
        own += cross.T
    gram += own


def row_magnitudes(rows):
    """Return the largest magnitude of each row, float32 (n); 0 without columns."""
    if not rows.numel():
        return torch.zeros(len(rows), dtype=torch.float32, device=rows.device)
    low, high = rows.aminmax(dim=1)
    return torch.maximum(-low, high).float()


def gradient_gram(kernels, gradients, half, gram):
    """Add X X^T to the upper half of `gram`, float64 (n, n), in place.

    Args:
        kernels: The namespace of the CUDA kernels.
        gradients: float32 or bfloat16 (n, p).
        half: Round the rows, scaled by powers of two, to float16 once: half of the work.
        gram: float64 (n, n).
    """
    _add_gram(kernels, gram, [gradients], half, row_magnitudes(gradients) if half else None)


def gradient_gram_factors(kernels, outputs, inputs, half, gram):
    """Add <D_i A_i^T, D_j A_j^T> to the upper half of `gram`, in place; gradients are not kept."""
    n, channels, positions = outputs.shape
    width = inputs.shape[1]
    if not (n and channels and positions and width):
        return
    largest = None
    if half:  # an entry of D A^T is at most the product of the two norms
        norms = [kernels.squared_norms(part.flatten(1)) for part in (outputs, inputs)]
        largest = (norms[0] * norms[1]).sqrt().float()
    # Each row of a factor is an operand: positions are the depth.
    left, right = (
        [part.view(n, -1, part.shape[1]) for part in operands(kernels, factor, order)]
        for factor, order in (
            (outputs.reshape(-1, positions), LEFT),
            (inputs.reshape(-1, positions), RIGHT),
        )
    )
    step = max(1, BUILT_BYTES // max(1, 4 * n * width))

    def pieces():
        for row in range(0, channels, step):
            built = None
            for own, other in zip(left, right, strict=True):
                built = multiply(own[:, row : row + step], other, built)
            yield built.flatten(1)

    _add_gram(kernels, gram, pieces(), half, largest)
