"""Random projections of gradients on the device. Arguments are those of the registered ops."""

import torch

from ..philox import DENSE, LEFT_FACTOR, RIGHT_FACTOR
from .products import DEPTH, LEFT, NO_TAIL, RIGHT, float32_products, multiply, operands, padded
from .sums import row_magnitudes

HASHED = 1 << 22  # coordinates whose buckets are drawn at a time
SIGNED = 8192  # coordinates whose signs are made at a time


def gradient_sketch_sparse(kernels, gradients, seed, first, out):
    """Add signed coordinates to their buckets, float32 (n, k), in place."""
    for start in range(0, gradients.shape[1], HASHED):
        kernels.sparse_sketch(gradients[:, start : start + HASHED], seed, first + start, out)


def gradient_sketch_fold(kernels, gradients, seed, first, folded):
    """Add signed coordinates, wrapped around the width of `folded`, float32 (n, size), in place."""
    kernels.fold(gradients, seed, first, folded)


def gradient_sketch_hadamard(kernels, folded, chosen, scale):
    """Return chosen rows of the Walsh-Hadamard transform of each row, float32 (n, k)."""
    values = folded.clone(memory_format=torch.contiguous_format)
    kernels.hadamard(values)
    return values[:, chosen] * scale


def _slabs(gradients, first, step):
    """Yield (first coordinate, coordinates to skip, columns) of slabs from multiples of 128 on."""
    end = first + gradients.shape[1]
    for base in range(first - first % 128, end, step):
        skip = max(0, first - base)
        yield base, skip, gradients[:, max(base, first) - first : min(base + step, end) - first]


def gradient_sketch_dense(kernels, gradients, seed, first, p_total, normal, scale, half, out):
    """Add scale * X R^T to `out`, float32 (n, k), in place; R is made a slab at a time.

    With `half` the rows, scaled by powers of two, are rounded to float16 once.
    """
    n, k = out.shape
    device, width = gradients.device, padded(k, 128)
    if normal:
        total = torch.zeros((n, width), dtype=torch.float32, device=device)
        for base, skip, piece in _slabs(gradients, first, DEPTH):
            values = torch.empty((width, DEPTH), dtype=torch.float32, device=device)
            kernels.random_normals(seed, base, p_total, values)
            rows = torch.nn.functional.pad(piece, (skip, DEPTH - skip - piece.shape[1]))
            left, right = operands(kernels, rows, LEFT), operands(kernels, values, RIGHT)
            multiply(left[0], right[0], total)
        out += scale * total[:, :k]
        return
    # High and low parts stand below each other: the signs are read once.
    dtype, planes = (torch.float16, 1) if half else (torch.bfloat16, 2)
    power = None
    if half:
        power = kernels.float16_scale(row_magnitudes(gradients))
    rows = padded(n)
    signs = torch.empty((width, SIGNED), dtype=dtype, device=device)
    total = torch.zeros((planes * rows, width), dtype=torch.float32, device=device)
    for base, skip, piece in _slabs(gradients, first, SIGNED):
        kernels.random_signs(seed, DENSE, base, p_total, signs)
        parts = torch.empty((planes, rows, SIGNED), dtype=dtype, device=device)
        parts[:, :, :skip] = 0
        kernels.split(piece, None, power, None, NO_TAIL, (planes - 1) << 1, parts[:, :, skip:])
        multiply(parts.flatten(0, 1), signs, total)
    found = total.view(planes, rows, width).sum(0)[:n, :k]
    if half:
        found = found / power[:, None]
    out += scale * found


def gradient_sketch_kronecker(kernels, outputs, inputs, k1, k2, k, seed):
    """Return the first k entries of (R1 D_i)(R2 A_i)^T / sqrt(k), float32 (n, k)."""
    projected = []
    with float32_products():
        for factor, rows, stream in ((outputs, k1, LEFT_FACTOR), (inputs, k2, RIGHT_FACTOR)):
            depth = factor.shape[1]
            signs = torch.empty((rows, depth), dtype=torch.bfloat16, device=factor.device)
            kernels.random_signs(seed, stream, 0, depth, signs)
            projected.append(signs.float() @ factor)
        small, wide = projected
        return (small @ wide.mT).flatten(1)[:, :k] / k**0.5
