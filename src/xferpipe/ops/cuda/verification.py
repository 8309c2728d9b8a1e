"""Check a family of kernels against the torch twins on small fixed inputs.

Inputs of small whole numbers make every product exact, so that ties and order must agree to the
bit; normal inputs show the accuracy of the split products. Twins run on the CPU.
"""

import torch

from .. import reference

# Of the largest entry: split tf32 products reach 1e-6, a single one 5e-4.
TOLERANCE = 2e-5


class Mismatch(Exception):
    """A kernel gave something else than its twin."""


def _numbers(shape, whole, seed=1):
    generator = torch.Generator().manual_seed(seed)
    if whole:
        return torch.randint(-2, 3, shape, generator=generator).float()
    return torch.randn(shape, generator=generator)


def _agree(name, case, ours, twin, tolerance):
    ours = ours.cpu()
    if ours.shape != twin.shape or ours.dtype != twin.dtype:
        raise Mismatch(
            f"{name} ({case}) gave {tuple(ours.shape)} of {ours.dtype} where the twin gives "
            f"{tuple(twin.shape)} of {twin.dtype}"
        )
    if not twin.numel():
        return
    difference = (ours.double() - twin.double()).abs().max().item()
    allowed = tolerance * twin.double().abs().max().item()
    if not difference <= allowed:
        raise Mismatch(
            f"{name} ({case}) differs from the twin by {difference:.3g} where {allowed:.3g} is "
            "allowed"
        )


def _compare(run, device, name, case, arguments, *, tolerance=0.0, changed=(), upper=()):
    """Run an op on copies of the arguments, and compare results and changed arguments."""
    ours = [
        part.to(device, copy=True) if isinstance(part, torch.Tensor) else part for part in arguments
    ]
    twin = [part.clone() if isinstance(part, torch.Tensor) else part for part in arguments]
    found, expected = run(name, *ours), getattr(reference, name)(*twin)
    if isinstance(expected, torch.Tensor):
        found, expected = (found,), (expected,)
    for i, value in enumerate(expected or ()):
        _agree(name, f"{case}, result {i}", found[i], value, tolerance)
    for i in changed:
        pair = (ours[i].triu(), twin[i].triu()) if i in upper else (ours[i], twin[i])
        _agree(name, f"{case}, argument {i}", *pair, tolerance)
    return found


def _all_pairs(queries, rows):
    offsets = torch.arange(queries + 1) * rows
    return offsets, torch.arange(rows).repeat(queries)


def check_ranking(run, device):
    """Check norms, scores and counts, with ties, and that both passes agree to the bit."""
    q, m, d = 131, 270, 37
    offsets, index = _all_pairs(q, m)
    arguments = (_numbers((q, m), True), offsets, index)
    _compare(run, device, "rank_metrics_dense", "ties", arguments)
    for dtype in (torch.float32, torch.bfloat16):
        query, gallery = (_numbers((n, d), False, n).to(dtype) for n in (q, m))
        gallery[m // 2 :] = gallery[: m - m // 2]  # every row twice: ties
        norms = _compare(run, device, "squared_norms", dtype, (gallery,), tolerance=1e-12)[0]
        for distance in (0, 1):
            case = f"{dtype}, distance {distance}"
            arguments = (query, gallery, norms.cpu(), offsets, index, distance)
            name = "rank_metrics_scores"
            scores = _compare(run, device, name, case, arguments, tolerance=TOLERANCE)[0]
            arguments = (query, gallery, norms, offsets, index + 1000, scores, distance, 1000)
            moved = [a.to(device) if isinstance(a, torch.Tensor) else a for a in arguments]
            counts = run("rank_metrics_counts", *moved).view(q, m)
            order = scores.view(q, m).cpu().sort(dim=1, descending=True, stable=True).indices
            expected = order.argsort(dim=1)
            _agree("rank_metrics_counts", case, counts, expected, 0.0)


def check_nearest(run, device):
    """Check lists shorter and longer than a warp, with ties, and lists over all items."""
    query, gallery = _numbers((131, 5), True, 1), _numbers((600, 5), True, 2)
    norms = reference.squared_norms(gallery)
    for k in (1, 70):
        arguments = (query, gallery, norms, k, 0, 3)
        _compare(run, device, "nearest_scores", f"whole numbers, k {k}", arguments)
    query, gallery = _numbers((20, 70), False, 1), _numbers((300, 70), False, 2)
    arguments = (query, gallery, reference.squared_norms(gallery), 300, 1, 0)
    moved = [a.to(device) if isinstance(a, torch.Tensor) else a for a in arguments]
    scores, rows = run("nearest_scores", *moved)
    twin = reference.nearest_scores(*arguments)
    _agree("nearest_scores", "normal, cosine", scores, twin[0], TOLERANCE)
    every = torch.arange(300).expand(20, -1)
    _agree("nearest_scores", "normal, rows", rows.sort(dim=1).values, every, 0.0)
    query, gallery = _numbers((20, 5), True, 1), _numbers((160, 5), True, 2)
    norms = torch.cat([reference.squared_norms(part) for part in (query, gallery)])
    arguments = (query, gallery, norms, 21, torch.zeros((20, 160)))
    _compare(run, device, "k_reciprocal_neighbours", "whole numbers", arguments, changed=(4,))


def check_label_correlation(run, device):
    """Check the streamed and the fused form, both sides, both dtypes, with and without a shift."""
    for dtype in (torch.float32, torch.bfloat16):
        for n, d, form in ((1100, 140, "columns"), (140, 300, "rows")):
            features = _numbers((n, d), False).add_(0.5).to(dtype)
            labels = torch.arange(n) % 7
            sums = torch.zeros(d, dtype=torch.float64)
            arguments = (features, sums)
            case = f"{n} x {d}, {dtype}"
            _compare(run, device, "column_sums", case, arguments, tolerance=1e-12, changed=(1,))
            reference.column_sums(features, sums)
            for shift in (sums[:0], sums / n):
                size = min(n, d)
                gram = torch.ones((size, size), dtype=torch.float64)
                class_sums = torch.ones((7, d), dtype=torch.float64)
                arguments = (features, labels, shift, gram, class_sums)
                more = {"tolerance": TOLERANCE, "changed": (3, 4), "upper": (3,)}
                case = f"{n} x {d}, {dtype}, {'raw' if not shift.numel() else 'centred'}"
                _compare(run, device, f"label_correlation_{form}", case, arguments, **more)
                counts = labels.bincount()
                arguments = (features, labels, shift, counts)
                name = "label_correlation_whole"
                _compare(run, device, name, case, arguments, tolerance=TOLERANCE)
                gram -= 1
                class_sums -= 1
                getattr(reference, f"label_correlation_{form}")(
                    features, labels, shift, gram, class_sums
                )
                arguments = (gram, class_sums, counts)
                name = "label_correlation_finish"
                _compare(run, device, name, case, arguments, tolerance=1e-9)


def check_gradient_gram(run, device):
    """Check many tiles, a split depth, and gradients built from factors."""
    for n, p in ((140, 1500), (9, 5000)):
        for dtype in (torch.float32, torch.bfloat16):
            arguments = (_numbers((n, p), False).to(dtype), torch.ones((n, n)).double())
            more = {"tolerance": TOLERANCE, "changed": (1,), "upper": (1,)}
            _compare(run, device, "gradient_gram", f"{n} x {p}, {dtype}", arguments, **more)
    factors = (_numbers((6, 131, 9), False, 1), _numbers((6, 40, 9), False, 2))
    arguments = (*factors, torch.zeros((6, 6)).double())
    more = {"tolerance": TOLERANCE, "changed": (2,), "upper": (2,)}
    _compare(run, device, "gradient_gram_factors", "6 x 131 x 40 x 9", arguments, **more)


def check_gradient_sketch(run, device):
    """Check every kind of projection, starting inside a word of signs."""
    n, p, k, first, seed = 5, 1700, 150, 77, -(2**62) - 5
    whole, normal = _numbers((n, p), True), _numbers((n, p), False)
    for name in ("gradient_sketch_sparse", "gradient_sketch_fold"):
        for dtype in (torch.float32, torch.bfloat16):
            out = torch.ones((n, 256 if name.endswith("fold") else k))
            arguments = (whole.to(dtype), seed, first, out)
            _compare(run, device, name, f"whole numbers, {dtype}", arguments, changed=(3,))
    chosen = torch.arange(0, 256, 3).flip(0)
    arguments = (_numbers((n, 256), True), chosen, 0.1)
    _compare(run, device, "gradient_sketch_hadamard", "256", arguments, tolerance=1e-6)
    for is_normal in (False, True):
        for dtype in (torch.float32, torch.bfloat16):
            arguments = (normal.to(dtype), seed, first, 4000, is_normal, 0.1, torch.ones((n, k)))
            kind = "gaussian" if is_normal else "rademacher"
            more = {"tolerance": TOLERANCE, "changed": (6,)}
            name = "gradient_sketch_dense"
            _compare(run, device, name, f"{kind}, {dtype}", arguments, **more)
    arguments = (_numbers((n, 150, 9), False, 1), _numbers((n, 40, 9), False, 2), 12, 13, 150, seed)
    _compare(run, device, "gradient_sketch_kronecker", "150", arguments, tolerance=TOLERANCE)


CHECKS = {
    "ranking": check_ranking,
    "nearest": check_nearest,
    "label_correlation": check_label_correlation,
    "gradient_gram": check_gradient_gram,
    "gradient_sketch": check_gradient_sketch,
}
