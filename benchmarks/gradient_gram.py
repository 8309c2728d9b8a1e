"""Exact LGC Gram matrix from factors, against materialising the gradients."""

from xferpipe import ops

from .common import Case
from .gradient_sketch import factors


def materialise(pair):
    """Build every gradient and multiply, in plain torch."""
    rows = (pair[0] @ pair[1].transpose(1, 2)).flatten(1)
    return rows @ rows.T


def cases(size):
    """Return one case."""
    pair = factors(size)
    n, outputs, positions = pair[0].shape
    p = outputs * pair[1].shape[1]
    contenders = {
        "ours": lambda: ops.gradient_gram(pair),
        "materialise and mm in torch": lambda: materialise(pair),
    }
    operations = 2.0 * n * p * positions + float(n) * (n + 1) * p
    return [Case(f"exact Gram of {n} x {p} from factors", "ours", contenders, operations)]
