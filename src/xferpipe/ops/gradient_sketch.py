"""Random projections of per-sample gradients, and the choice between them and the exact Gram."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from . import inputs, philox
from .gradient_gram import PRECISIONS, check_factors, require_finite_factors
from .loading import call

KINDS = ("kronecker", "sparse", "srht", "rademacher", "gaussian")


def gradient_sketch(gradients, k, *, kind, seed, precision="float32"):
    """Project per-sample gradients to k dimensions, so that inner products are unbiased.

    Random numbers are counter-based: a seed gives the same numbers for any chunking, number of
    threads and device.

    Args:
        gradients: One tensor or memory-mapped array (n, p), floating point; or a pair of factors
            (n, output channels, positions) and (n, input channels x kernel, positions).
        k: Projected dimensions.
        kind: "kronecker" (factors only; never forms a gradient), "sparse" (one bucket and sign per
            coordinate), "srht" (signs, folding to a power of two, Walsh-Hadamard, k rows),
            "rademacher" or "gaussian" (dense, made on the fly; for comparison).
        seed: 64-bit integer.
        precision: "float32", or "float16": as for `gradient_gram`, for "rademacher" alone.

    Returns:
        Projections, float32 (n, k).

    Raises:
        ValueError: an unknown kind or precision, "kronecker" without factors, k < 1, or a row holds
            NaN.

    Source:
        Charikar et al., 2002 (sparse, one nonzero); Ailon and Chazelle, 2009 (srht); Achlioptas,
        2003 (signs); docs/kernels.md (Kronecker).
    """
    inputs.choice(kind, KINDS, "kind")
    half = inputs.choice(precision, PRECISIONS, "precision")
    if k < 1:
        raise ValueError(f"k is {k} but must be at least 1")
    seed = int(seed)
    # The registered ops take a signed 64-bit integer.
    seed = (seed + 2**63) % 2**64 - 2**63
    if isinstance(gradients, (tuple, list)):
        outputs, patches = check_factors(gradients)
        if kind == "kronecker":
            k1 = max(1, math.isqrt(k))
            args = (outputs, patches, k1, -(-k // k1), k, seed)
            out = call("gradient_sketch_kronecker", *args)
            if not math.isfinite(out.sum()):
                require_finite_factors(outputs, patches)
            return out
        pieces, p, n = _built(outputs, patches), outputs.shape[1] * patches.shape[1], len(outputs)
        device = outputs.device
    else:
        if kind == "kronecker":
            raise ValueError('kind "kronecker" needs factors: a pair of tensors, not gradients')
        rows = inputs.native(inputs.as_matrix(gradients, "gradients"), None)
        (n, p), device = rows.shape, rows.device
        pieces = [(0, rows)]
    if kind == "srht":
        out = _srht(pieces, n, k, seed, device)
    else:
        out = torch.zeros((n, k), dtype=torch.float32, device=device)
        for first, piece in pieces:
            if kind == "sparse":
                call("gradient_sketch_sparse", piece, seed, first, out)
            else:
                args = (piece, seed, first, p, kind == "gaussian", 1 / math.sqrt(k), half, out)
                call("gradient_sketch_dense", *args)
    # A bad value reaches its row of the sketch, and a row the sum: only then is the input searched.
    if not math.isfinite(out.sum()):
        if isinstance(gradients, (tuple, list)):
            require_finite_factors(outputs, patches)
        else:
            inputs.require_finite(call("squared_norms", rows), "gradients")
    return out


def _built(outputs, patches):
    """Yield (first coordinate, gradients) for a few output channels at a time."""
    width = patches.shape[1]
    step = max(1, (inputs.BLOCK_BYTES // 4) // max(1, outputs.shape[0] * width))
    for row in range(0, outputs.shape[1], step):
        piece = outputs[:, row : row + step] @ patches.transpose(1, 2)
        yield row * width, piece.flatten(1)


def _srht(pieces, n, k, seed, device):
    size = 1 << max(0, (k - 1).bit_length())
    folded = torch.zeros((n, size), dtype=torch.float32, device=device)
    for first, piece in pieces:
        call("gradient_sketch_fold", piece, seed, first, folded)
    chosen = _hadamard_rows(seed, size, k).to(device)
    return call("gradient_sketch_hadamard", folded, chosen, 1 / math.sqrt(k))


@lru_cache(maxsize=8)
def _hadamard_rows(seed, size, k):
    """Return the rows of the transform that a seed chooses, int64 (k)."""
    keys = philox.words(seed, philox.HADAMARD_ROWS, torch.arange(size))[:, 0]
    return keys.argsort(stable=True)[:k]


@dataclass(frozen=True)
class GradientPlan:
    """Which way to the Gram matrix is cheaper, and what it costs in accuracy.

    Attributes:
        method: "exact" or "sketch".
        kind: The kind of sketch weighed.
        exact_operations: Multiply-adds of the exact Gram matrix.
        sketch_operations: Multiply-adds of the sketch and its Gram matrix.
        expected_error: Expected absolute error of a cosine between two unrelated gradients: 0 for
            the exact way, else sqrt(2 / (pi k)).
        reason: One line for the tables.
    """

    method: str
    kind: str
    exact_operations: float
    sketch_operations: float
    expected_error: float
    reason: str


def gradient_plan(n, shape, k, *, kind="kronecker"):
    """Choose between the exact Gram matrix and a sketch by counting multiply-adds.

    Args:
        n: Samples.
        shape: (p,) for gradients, or (output channels, input channels x kernel, positions) for
            factors.
        k: Projected dimensions.
        kind: A kind of `gradient_sketch`.

    Returns:
        GradientPlan. A dense projection costs 2 n p k against n^2 p, so exact wins for n < 2k.

    Raises:
        ValueError: an unknown kind, or "kronecker" without factors.

    Source:
        docs/kernels.md.
    """
    inputs.choice(kind, KINDS, "kind")
    if len(shape) == 3:
        rows, columns, positions = shape
        p, build = rows * columns, float(n) * rows * columns * positions
    elif kind == "kronecker":
        raise ValueError(
            'kind "kronecker" needs the shape of factors: (outputs, inputs, positions)'
        )
    else:
        (p,), build = shape, 0.0
    gram = n * (n + 1) / 2
    exact = build + gram * p
    if len(shape) == 3:
        # Few positions: products of single positions instead of built gradients.
        exact = min(exact, gram * positions**2 * (rows + columns))
    if kind == "kronecker":
        side = math.sqrt(k)
        project = n * positions * (side * (rows + columns) + k)
    elif kind == "sparse":
        # A scattered addition costs about eight of the multiply-adds of a matrix product.
        project = build + 8.0 * n * p
    elif kind == "srht":
        project = build + 4.0 * n * p + 2.0 * n * k * max(1.0, math.log2(max(2, k)))
    else:
        project = build + float(n) * p * k
    sketch = project + gram * k
    exact_wins = exact <= sketch
    method, error = ("exact", 0.0) if exact_wins else ("sketch", math.sqrt(2 / (math.pi * k)))
    reason = (
        f"{method}: {exact:.3g} multiply-adds exactly, {sketch:.3g} by a {kind} sketch to {k}; "
        f"expected cosine error {error:.2g}"
    )
    return GradientPlan(method, kind, exact, sketch, error, reason)
