"""Random projections of per-sample gradients of one convolution (2048 x 512, 7 x 7 positions)."""

import torch

from xferpipe import ops

from .common import Case

SIZES = {"full": (512, 2048, 512, 49), "quarter": (512, 512, 512, 49), "quick": (64, 128, 64, 9)}


def factors(size):
    """Return factors of n samples."""
    n, outputs, inputs, positions = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn((n, outputs, positions), generator=generator),
        torch.randn((n, inputs, positions), generator=generator),
    )


def kronecker(pair, k1, k2, left, right):
    """Project both factors in plain torch."""
    return ((left @ pair[0]) @ (right @ pair[1]).transpose(1, 2)).flatten(1) / (k1 * k2) ** 0.5


def cases(size):
    """Return a case from gradients and one from factors."""
    k = 400 if size == "quick" else 10000
    pair = factors(size)
    rows = (pair[0] @ pair[1].transpose(1, 2)).flatten(1)
    n, p = rows.shape
    bucket = torch.randint(k, (p,))
    sign = torch.randint(2, (p,)).float() * 2 - 1

    def index_add():
        return torch.zeros((n, k)).index_add_(1, bucket, rows * sign)

    contenders = {
        "ours, sparse": lambda: ops.gradient_sketch(rows, k, kind="sparse", seed=0),
        "ours, srht": lambda: ops.gradient_sketch(rows, k, kind="srht", seed=0),
        "torch index_add_ (count sketch)": index_add,
    }
    missing = {}
    if size == "quick":
        missing["TRAK BasicProjector"] = "left out of --size quick"
    else:
        try:
            from trak.projectors import BasicProjector, ProjectionType

            # A twentieth of the columns: the whole projection takes minutes, and its cost is
            # proportional to k.
            projector = BasicProjector(
                p, k // 20, 0, ProjectionType.rademacher, torch.device("cpu"), block_size=100,
                dtype=torch.float32,
            )  # fmt: skip
            contenders["TRAK BasicProjector, k / 20"] = lambda: projector.project(rows, 0)
        except ImportError:
            missing["TRAK BasicProjector"] = "pip install traker"
    out = [Case(f"sketch of {n} x {p} to {k}", "ours, sparse", contenders, None, missing)]
    side = int(k**0.5)
    left = torch.randint(2, (side, pair[0].shape[1])).float() * 2 - 1
    right = torch.randint(2, (side, pair[1].shape[1])).float() * 2 - 1
    from_factors = {
        "ours, kronecker": lambda: ops.gradient_sketch(pair, k, kind="kronecker", seed=0),
        "kronecker in torch": lambda: kronecker(pair, side, side, left, right),
    }
    q = pair[0].shape[2]
    operations = 2.0 * n * q * (side * (pair[0].shape[1] + pair[1].shape[1]) + k)
    name = f"Kronecker sketch of factors, {n} samples to {k}"
    out.append(Case(name, "ours, kronecker", from_factors, operations))
    return out
