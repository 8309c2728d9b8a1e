"""Exact Gram matrix of per-sample gradients (LGC)."""

import torch

from . import inputs
from .loading import call


def check_factors(factors):
    """Return the two factors of a convolution's gradients as contiguous float32 tensors."""
    if not isinstance(factors, (tuple, list)) or len(factors) != 2:
        raise ValueError(
            "factors must be a pair (output gradients, input patches), or one tensor (n, p) of "
            "gradients"
        )
    outputs, patches = (
        part if isinstance(part, torch.Tensor) else torch.as_tensor(part) for part in factors
    )
    if outputs.dim() != 3 or patches.dim() != 3:
        raise ValueError(
            f"factors have shapes {tuple(outputs.shape)} and {tuple(patches.shape)} but must be "
            "(n, output channels, positions) and (n, input channels x kernel, positions)"
        )
    if (outputs.shape[0], outputs.shape[2]) != (patches.shape[0], patches.shape[2]):
        raise ValueError(
            f"factors have shapes {tuple(outputs.shape)} and {tuple(patches.shape)}: samples "
            "(first dimension) and positions (last) must agree"
        )
    outputs, patches = (part.detach().float().contiguous() for part in (outputs, patches))
    return outputs, patches.to(outputs.device)


def require_finite_factors(outputs, patches):
    """Raise for the first sample with NaN or infinity in a factor."""
    for name, part in (("output gradients", outputs), ("input patches", patches)):
        flat = part.reshape(part.shape[0], -1)
        inputs.require_finite(call("squared_norms", flat), name)


PRECISIONS = {"float32": False, "float16": True}


def gradient_gram(gradients, *, precision="float32"):
    """Compute all inner products of per-sample gradients, exactly.

    From a convolution's factors the gradients D_i A_i^T are built tile by tile, used and discarded.
    Where fewer multiply-adds are needed that way, products of single positions are used instead:
    <G_i, G_j> is the sum over positions of (D_i^T D_j)(A_i^T A_j); with one position (a linear
    layer) it is the product of two small Gram matrices.

    Args:
        gradients: One tensor or memory-mapped array (n, p), floating point; or a pair of factors:
            gradients before the activation (n, output channels, positions) and input patches
            (n, input channels x kernel, positions).
        precision: "float32", or "float16": on a GPU the gradients are rounded to float16 once,
            which halves the time and leaves errors of 5e-5 of the largest entry. A processor
            computes at float32 accuracy either way.

    Returns:
        Inner products, float64 (n, n), symmetric.

    Raises:
        ValueError: shapes do not fit, a row holds NaN or infinity, or the precision is unknown.

    Source:
        Deshpande et al., arXiv 2102.00084, section 4; the factor form is in docs/kernels.md.
    """
    half = inputs.choice(precision, PRECISIONS, "precision")
    if isinstance(gradients, (tuple, list)):
        outputs, patches = check_factors(gradients)
        n = outputs.shape[0]
        if outputs.shape[2] == 1:
            require_finite_factors(outputs, patches)
            grams = [
                gradient_gram(part[:, :, 0], precision=precision) for part in (outputs, patches)
            ]
            return grams[0] * grams[1]
        gram = torch.zeros((n, n), dtype=torch.float64, device=outputs.device)
        call("gradient_gram_factors", outputs, patches, half, gram)
        # A bad value reaches its sample's diagonal entry: the factors are searched only then.
        if not torch.isfinite(gram.diagonal()).all():
            require_finite_factors(outputs, patches)
    else:
        rows = inputs.native(inputs.as_matrix(gradients, "gradients"), None)
        n = rows.shape[0]
        gram = torch.zeros((n, n), dtype=torch.float64, device=rows.device)
        call("gradient_gram", rows, half, gram)
        if not torch.isfinite(gram.diagonal()).all():
            inputs.require_finite(call("squared_norms", rows), "gradients")
    upper = gram.triu()
    return upper + gram.triu(1).T
