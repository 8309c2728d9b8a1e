"""Float32 products on tensor cores: 16-bit parts, multiplied by torch's library.

A float32 number is the sum of two bfloat16 parts but for 2^-17 of it. Laid side by side along the
depth, [low | high | high] times [high | low | high] transposed is the product of the numbers, small
terms first, in one call. Tensor cores cut their running sums off instead of rounding them, so a sum
of positive products falls short by 4e-6 at a depth of 2,048 features and by ten times that at four
times the depth: deeper products are made in pieces that join by rounded additions. The library is
eight times slower where rows of the result do not start at multiples of 16 bytes, so operands are
padded. (Measured on an H200: docs/performance.md.)
"""

import contextlib

import torch

ALIGNED = 8  # entries: 16 bytes of 16-bit operands, 32 of results
DEPTH = 2048  # features that one library product adds up
WORKSPACE = 1 << 30  # bytes of products at a time
JOINED = 16  # float32 sums are added to float64 after so many rounded additions
# Parts along the depth, and which of them are low ones, by bits from the first.
LEFT, RIGHT, WHOLE = (3, 0b001), (3, 0b010), (1, 0)
PANEL = 1536  # rows of a symmetric product that are multiplied with all the others at once


def padded(count, to=ALIGNED):
    """Return the next multiple of `to`."""
    return -(-count // to) * to


def multiply(left, right, out=None):
    """Return left right^T + out, float32; `out`, where given, is overwritten.

    Args:
        left: Parts of 16 bits (..., a, depth), with or without a batch dimension.
        right: Parts of the same dtype (..., b, depth).
        out: float32 (..., a, b), or None.
    """
    if left.device.type != "cuda":  # the tests' stand-in
        product = left.float() @ right.float().mT
        return product if out is None else out.add_(product)
    single, added = (torch.mm, torch.addmm) if left.dim() == 2 else (torch.bmm, torch.baddbmm)
    if out is None:
        return single(left, right.mT, out_dtype=torch.float32)
    return added(out, left, right.mT, out_dtype=torch.float32, out=out)


def operands(kernels, matrix, order, *, rows=None):
    """Split rows into operands of `multiply`, one for each DEPTH features.

    Args:
        kernels: The namespace of the CUDA kernels.
        matrix: float32 or bfloat16 (n, d).
        order: LEFT or RIGHT, the side that the rows stand on; WHOLE where the numbers of both sides
            are bfloat16 and one part is all of them.
        rows: Rows of the operands, n or more; None is n.

    Returns:
        Tensors, bfloat16 (rows, parts * features).
    """
    planes, lows = order
    found = []
    for piece in matrix.split(DEPTH, dim=1):
        shape = (rows or matrix.shape[0], planes, padded(piece.shape[1]))
        out = torch.empty(shape, dtype=torch.bfloat16, device=matrix.device)
        kernels.split(piece, None, None, lows, out.transpose(0, 1))
        found.append(out.flatten(1))
    return found


def product_blocks(kernels, query, gallery):
    """Yield (first query, inner products with all gallery rows) over blocks of queries.

    The products are float32 (queries, gallery rows padded to ALIGNED). The same inputs give the same
    blocks and the same bits. Where a query stands in its block changes its bits.
    """
    is_exact = query.dtype == gallery.dtype == torch.bfloat16
    sides = (WHOLE, WHOLE) if is_exact else (LEFT, RIGHT)
    width = padded(gallery.shape[0])
    right = operands(kernels, gallery, sides[1], rows=width)
    step = max(1, WORKSPACE // (4 * max(1, width)))
    step = step if step < 128 else step // 128 * 128
    for first in range(0, query.shape[0], step):
        product = None
        left = operands(kernels, query[first : first + step], sides[0])
        for own, other in zip(left, right, strict=True):
            product = multiply(own, other, product)
        yield first, product


def _panels(size):
    """Return the rows at which panels of a symmetric product begin, and their height.

    Each panel is multiplied with the rows from its own first one on: what lies below the diagonal is
    hardly computed.
    """
    step = size if size <= PANEL else padded(-(-size // 4), 128)
    return range(0, size, step), step


def sums_bytes(size, planes):
    """Return the bytes of the float32 sums that add_symmetric holds for each slab."""
    size = padded(size)
    panels, step = _panels(size)
    return 4 * sum(min(step, size - first) * (planes * size - first) for first in panels)


def add_symmetric(kernels, gram, cross, stacks):
    """Add the parts of a symmetric product: rows H + L with each other are H H^T + H L^T + (H L^T)^T.

    Args:
        kernels: The namespace of the CUDA kernels.
        gram: float64 (n, n); H H^T is added to its upper half, and something below it.
        cross: float64 (n, n), to which H L^T is added; None where the rows have one part.
        stacks: Iterable of parts of 16 bits (slabs, planes * padded(n), depth): the rows, padded with
            zeros, and after them with `cross` what their rounding leaves.
    """
    size = padded(len(gram))
    panels, step = _panels(size)
    sums, joined = None, 0

    def flush():
        for first, own in zip(panels, sums, strict=True):
            kernels.add_panel(own, first, size, gram, cross)

    for stack in stacks:
        if sums is not None and (joined == JOINED or sums[0].shape[0] != stack.shape[0]):
            flush()
            sums, joined = None, 0
        parts = sums or [None] * len(panels)
        sums = [
            multiply(stack[:, first : min(first + step, size)], stack[:, first:], part)
            for first, part in zip(panels, parts, strict=True)
        ]
        joined += 1
    if sums is not None:
        flush()


@contextlib.contextmanager
def float32_products():
    """Let torch's own float32 products be float32 products, whatever the caller chose for his."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
