"""Exact LGC Gram matrix from factors, against materialising the gradients."""

import torch

from xferpipe import ops

from .common import Case
from .gradient_sketch import factors

SMALL_MAPS = {"full": (512, 512, 4608, 4), "quarter": (256, 512, 4608, 4), "quick": (32, 64, 96, 4)}


def materialise(pair):
    """Build every gradient and multiply, in plain torch."""
    rows = (pair[0] @ pair[1].transpose(1, 2)).flatten(1)
    return rows @ rows.T


def case(pair, operations):
    """Return a case from factors."""
    n, outputs, positions = pair[0].shape
    contenders = {
        "ours": lambda: ops.gradient_gram(pair),
        "materialise and mm in torch": lambda: materialise(pair),
    }
    name = f"exact Gram of {n} x {outputs * pair[1].shape[1]} from factors, {positions} positions"
    return Case(name, "ours", contenders, operations)


def cases(size):
    """Return a case of a large map, where gradients are built, and one of a small map."""
    pair = factors(size)
    n, outputs, positions = pair[0].shape
    p = outputs * pair[1].shape[1]
    large = case(pair, 2.0 * n * p * positions + float(n) * (n + 1) * p)
    # The last convolution of a ResNet-18 on 64-pixel images.
    n, outputs, inputs, positions = SMALL_MAPS[size]
    generator = torch.Generator().manual_seed(1)
    pair = [torch.randn((n, rows, positions), generator=generator) for rows in (outputs, inputs)]
    return [large, case(pair, float(n) * (n + 1) * positions**2 * (outputs + inputs))]
