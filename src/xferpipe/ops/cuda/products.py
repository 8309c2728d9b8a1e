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

from ..inputs import DISTANCES

ALIGNED = 8  # entries: 16 bytes of 16-bit operands, 32 of results
DEPTH = 2048  # features that one library product adds up
WORKSPACE = 1 << 30  # bytes of products at a time
JOINED = 16  # float32 sums are added to float64 after so many rounded additions
# Parts along the depth, and which of them are low ones, by bits from the first.
LEFT, RIGHT = (3, 0b001), (3, 0b010)
NO_TAIL, ONES, HALF_NORM, UNIT = range(4)  # csrc/cuda/launch.h
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


def operands(kernels, matrix, order, *, rows=None, tail=NO_TAIL, norms=None):
    """Split rows into operands of `multiply`, one for each DEPTH features.

    Args:
        kernels: The namespace of the CUDA kernels.
        matrix: float32 or bfloat16 (n, d).
        order: Number of parts along the depth, and by bits from the first which are low ones.
        rows: Rows of the operands, n or more; None is n.
        tail: What a score holds beside the numbers: see csrc/cuda/launch.h.
        norms: Squared norms for the tail, float64 (n).

    Returns:
        Tensors, bfloat16 (rows, parts * features and more with a tail).
    """
    planes, lows = order
    found, depth = [], matrix.shape[1]
    for first in range(0, max(1, depth), DEPTH):
        piece = matrix[:, first : first + DEPTH]
        width = padded(piece.shape[1])
        own = tail if tail == UNIT or first + DEPTH >= depth else NO_TAIL
        more = ALIGNED if own in (ONES, HALF_NORM) else 0
        shape = (rows or matrix.shape[0], planes * width + more)
        out = torch.empty(shape, dtype=torch.bfloat16, device=matrix.device)
        views = out[:, : planes * width].unflatten(1, (planes, width)).transpose(0, 1)
        needed = norms if own in (HALF_NORM, UNIT) else None
        kernels.split(piece, None, None, needed, own, lows, views)
        found.append(out)
    return found


def score_blocks(kernels, query, gallery, norms, distance):
    """Yield (first query, scores of all gallery rows) over blocks of queries; larger is nearer.

    A score is q.g - |g|^2 / 2 for Euclidean distances and q.g / |g| for cosines. The scores are
    float32 (queries, gallery rows padded to ALIGNED). The same inputs give the same blocks and the
    same bits; where a query stands in its block changes its bits.

    Args:
        kernels: The namespace of the CUDA kernels.
        query: float32 or bfloat16 (q, d).
        gallery: float32 or bfloat16 (m, d).
        norms: Squared norms of the gallery, float64 (m).
        distance: A code of `inputs.DISTANCES`.
    """
    is_cosine = distance == DISTANCES["cosine"]
    if query.dtype == gallery.dtype == torch.bfloat16:
        # One part is all of a bfloat16 number, but not of one that was divided.
        left, right = ((2, 0b00), (2, 0b10)) if is_cosine else ((1, 0), (1, 0))
    else:
        left, right = LEFT, RIGHT
    tails = (NO_TAIL, UNIT) if is_cosine else (ONES, HALF_NORM)
    width = padded(gallery.shape[0])
    other = operands(kernels, gallery, right, rows=width, tail=tails[1], norms=norms)
    step = max(1, WORKSPACE // (4 * max(1, width)))
    step = step if step < 128 else step // 128 * 128
    for first in range(0, query.shape[0], step):
        scores = None
        own = operands(kernels, query[first : first + step], left, tail=tails[0])
        for pair in zip(own, other, strict=True):
            scores = multiply(*pair, scores)
        yield first, scores


def _panels(size):
    """Return the rows at which panels of a symmetric product begin, and their height.

    Each panel is multiplied with the rows from its own first one on: what lies below the diagonal
    is hardly computed.
    """
    step = size if size <= PANEL else padded(-(-size // 4), 128)
    return range(0, size, step), step


def sums_bytes(size, planes):
    """Return the bytes of the float32 sums that add_symmetric holds for each slab."""
    size = padded(size)
    panels, step = _panels(size)
    return 4 * sum(min(step, size - first) * (planes * size - first) for first in panels)


def add_symmetric(kernels, gram, cross, stacks):
    """Add the parts of a symmetric product of rows H + L: H H^T, H L^T and, implied, (H L^T)^T.

    Args:
        kernels: The namespace of the CUDA kernels.
        gram: float64 (n, n); H H^T is added to its upper half, and something below it.
        cross: float64 (n, n), to which H L^T is added; None where the rows have one part.
        stacks: Iterable of parts of 16 bits (slabs, planes * padded(n), depth): the rows, padded
            with zeros, and after them with `cross` what their rounding leaves.
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
