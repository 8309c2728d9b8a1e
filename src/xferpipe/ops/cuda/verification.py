"""Check a family of kernels against the torch twins on small fixed inputs.

Inputs of small whole numbers make every product exact, so that ties and order must agree to the
bit; normal inputs show the accuracy of the split products. Twins run on the CPU.
"""

import torch

from .. import reference

# Of the largest entry: products of two parts reach 1e-5, one float16 part 3e-4, one bfloat16 part
# 3e-3.
TOLERANCE = 2e-5
HALF_TOLERANCE = 8e-4


class Mismatch(Exception):
    """A kernel gave something else than its twin."""


def _numbers(shape, whole, seed=1):
    generator = torch.Generator().manual_seed(seed)
    if whole:
        return torch.randint(-2, 3, shape, generator=generator).float()
    return torch.randn(shape, generator=generator, dtype=torch.float32)


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


def _on(device, arguments):
    return [part.to(device) if isinstance(part, torch.Tensor) else part for part in arguments]


def _all_pairs(queries, rows):
    offsets = torch.arange(queries + 1) * rows
    return offsets, torch.arange(rows).repeat(queries)


def _check_counts(run, device, query, gallery, distance, case):
    """Check scores, counts of a block and counts of the whole, which agree to the bit."""
    (q, _), m = query.shape, len(gallery)
    offsets, index = _all_pairs(q, m)
    norms = _compare(run, device, "squared_norms", case, (gallery,), tolerance=1e-12)[0].cpu()
    lists = (query, gallery, norms, offsets, index)
    more = {"tolerance": TOLERANCE}
    scores = _compare(run, device, "rank_metrics_scores", case, (*lists, distance), **more)[0]
    order = scores.view(q, m).cpu().sort(dim=1, descending=True, stable=True).indices
    expected = order.argsort(dim=1)
    found = run("rank_metrics_nearer", *_on(device, (*lists, distance)))
    _agree("rank_metrics_nearer", case, found.view(q, m), expected, 0.0)
    moved = (*lists[:4], index + 1000, scores, distance, 1000)
    found = run("rank_metrics_counts", *_on(device, moved))
    _agree("rank_metrics_counts", case, found.view(q, m), expected, 0.0)
    # All rows of the gallery come before those of later blocks at the same score or a lower one.
    later = (*lists[:4], index + 1000, scores, distance, 1000 - m)
    found = run("rank_metrics_counts", *_on(device, later)).view(q, m).cpu()
    at_least = (scores.view(q, 1, m) >= scores.view(q, m, 1)).sum(2).cpu()
    _agree("rank_metrics_counts", f"{case}, later rows", found, at_least, 0.0)


def _check_refusal(run, device, case, offsets, index):
    rows = _numbers((3, 4), True)
    arguments = (rows, rows, reference.squared_norms(rows), offsets, index, 0)
    try:
        run("rank_metrics_nearer", *_on(device, arguments))
    except ValueError:
        return
    raise Mismatch(f"rank_metrics_nearer ({case}) was not refused")


def check_ranking(run, device):
    """Check norms, scores, counts and metrics, with ties and many pairs."""
    for q, m in ((131, 270), (2, 1500)):
        arguments = (_numbers((q, m), True), *_all_pairs(q, m))
        _compare(run, device, "rank_metrics_dense", f"{q} x {m}, ties", arguments)
    single, half = torch.float32, torch.bfloat16
    for q, m, d, dtypes in (
        (21, 270, 37, (single, single)),
        (21, 270, 37, (half, half)),
        (21, 270, 37, (half, single)),
        (3, 20, 2100, (single, single)),
    ):
        query, gallery = (_numbers((n, d), False, n).to(t) for n, t in zip((q, m), dtypes))
        gallery[m // 2 :] = gallery[: m - m // 2].clone()  # every row twice: ties
        for distance in (0, 1):
            case = f"{q} x {m} x {d}, {dtypes[0]} and {dtypes[1]}, distance {distance}"
            _check_counts(run, device, query, gallery, distance, case)
    rising = torch.arange(4)
    _check_refusal(run, device, "a row past the gallery", rising, torch.tensor([0, 1, 3]))
    _check_refusal(run, device, "falling offsets", torch.tensor([0, 2, 1, 3]), rising[:3])
    identities = torch.arange(40) % 11, torch.arange(300) % 13 % 9
    for cameras in ((torch.arange(40) % 3, torch.arange(300) % 4), [torch.arange(0)] * 2):
        arguments = (*identities, *cameras)
        _compare(run, device, "rank_metrics_pairs", f"{len(cameras[0])} cameras", arguments)
    offsets = torch.tensor([0, 5, 5, 9])
    nearer = torch.tensor([4, 0, 9, 2, 7, 3, 1, 5, 0])
    junk = torch.tensor([False, True, False, False, True, False, False, False, True])
    for kind in (0, 1):
        name = "rank_metrics_summary"
        found = run(name, *_on(device, (offsets, nearer, junk, kind)))
        for i, twin in enumerate(reference.rank_metrics_summary(offsets, nearer, junk, kind)):
            _agree(name, f"result {i}", found[i].nan_to_num(-1), twin.nan_to_num(-1), 1e-12)


def check_nearest(run, device):
    """Check short, long and complete lists, with ties, and lists over all items."""
    for q, m in ((131, 600), (3, 9000)):
        query, gallery = _numbers((q, 5), True, 1), _numbers((m, 5), True, 2)
        norms = reference.squared_norms(gallery)
        for k in (1, 70):
            arguments = (query, gallery, norms, k, 0, 3)
            _compare(run, device, "nearest_scores", f"{q} x {m}, whole, k {k}", arguments)
    query, gallery = _numbers((20, 70), False, 1), _numbers((300, 70), False, 2)
    arguments = (query, gallery, reference.squared_norms(gallery), 300, 1, 0)
    scores, rows = run("nearest_scores", *_on(device, arguments))
    twin = reference.nearest_scores(*arguments)
    _agree("nearest_scores", "normal, cosine", scores, twin[0], TOLERANCE)
    every = torch.arange(300).expand(20, -1)
    _agree("nearest_scores", "normal, rows", rows.sort(dim=1).values, every, 0.0)
    query, gallery = _numbers((20, 5), True, 1), _numbers((160, 5), True, 2)
    norms = torch.cat([reference.squared_norms(part) for part in (query, gallery)])
    for kept in (torch.zeros((20, 160), dtype=torch.float32), torch.zeros(0, dtype=torch.float32)):
        arguments = (query, gallery, norms, 21, kept)
        _compare(run, device, "k_reciprocal_neighbours", "whole", arguments, changed=(4,))


def check_label_correlation(run, device):
    """Check both sides, both dtypes, raw and centred, near zero and far from it."""
    for n, d in ((1100, 140), (140, 300), (2100, 9)):
        labels = torch.arange(n) % 7 * 5 - 11
        for dtype, mean in ((torch.float32, 0.5), (torch.float32, 30.0), (torch.bfloat16, 0.5)):
            features = _numbers((n, d), False).add_(mean).to(dtype)
            for is_centered in (False, True):
                arguments = (features, labels, is_centered)
                case = f"{n} x {d}, {dtype}, mean {mean}, {'centred' if is_centered else 'raw'}"
                more = {"tolerance": TOLERANCE}
                _compare(run, device, "label_correlation_whole", case, arguments, **more)


def check_gradient_gram(run, device):
    """Check one panel and several, depths of several slabs, and gradients built from factors."""
    single = torch.float32
    for n, p, dtype in ((140, 1500, single), (9, 5000, torch.bfloat16), (1700, 40, single)):
        for half in (False, True):
            arguments = (_numbers((n, p), False).to(dtype), half, torch.ones((n, n)).double())
            more = {"tolerance": HALF_TOLERANCE if half else TOLERANCE, "changed": (2,)}
            case = f"{n} x {p}, {dtype}, {'float16' if half else 'float32'} accuracy"
            _compare(run, device, "gradient_gram", case, arguments, upper=(2,), **more)
    factors = (_numbers((6, 131, 9), False, 1), _numbers((6, 40, 9), False, 2))
    arguments = (*factors, False, torch.zeros((6, 6), dtype=torch.float64))
    more = {"tolerance": TOLERANCE, "changed": (3,), "upper": (3,)}
    _compare(run, device, "gradient_gram_factors", "6 x 131 x 40 x 9", arguments, **more)


def check_gradient_sketch(run, device):
    """Check every projection, from inside a word of signs on, and widths that take passes."""
    n, first, seed = 5, 77, -(2**62) - 5
    for p, k, dtype in (
        (1700, 150, torch.float32),
        (1700, 150, torch.bfloat16),
        (300, 60_000, None),
    ):
        whole = _numbers((n, p), True).to(dtype or torch.float32)
        sizes = (("gradient_sketch_sparse", k), ("gradient_sketch_fold", 256))
        for name, size in sizes:
            out = torch.ones((n, size), dtype=torch.float32)
            arguments = (whole, seed, first, out)
            _compare(run, device, name, f"{p} to {size}, {dtype}", arguments, changed=(3,))
    for size in (256, 1 << 17):
        chosen = torch.arange(0, size, size // 80).flip(0)
        arguments = (_numbers((2, size), True), chosen, 0.1)
        name = "gradient_sketch_hadamard"
        _compare(run, device, name, str(size), arguments, tolerance=1e-6)
    for p, k, is_normal, half, dtype in (
        (1700, 150, False, False, torch.float32),
        (1700, 150, False, False, torch.bfloat16),
        (9000, 20, False, False, torch.float32),
        (1700, 20, False, True, torch.float32),
        (2500, 20, True, False, torch.float32),
    ):
        gradients = _numbers((n, p), False).to(dtype)
        out = torch.ones((n, k), dtype=torch.float32)
        arguments = (gradients, seed, first, p + 500, is_normal, 0.1, half, out)
        case = f"{'gaussian' if is_normal else 'rademacher'}, {p} to {k}, {dtype}, half {half}"
        more = {"tolerance": HALF_TOLERANCE if half else TOLERANCE, "changed": (7,)}
        _compare(run, device, "gradient_sketch_dense", case, arguments, **more)
    arguments = (_numbers((n, 150, 9), False, 1), _numbers((n, 40, 9), False, 2), 12, 13, 150, seed)
    _compare(run, device, "gradient_sketch_kronecker", "150", arguments, tolerance=TOLERANCE)


CHECKS = {
    "ranking": check_ranking,
    "nearest": check_nearest,
    "label_correlation": check_label_correlation,
    "gradient_gram": check_gradient_gram,
    "gradient_sketch": check_gradient_sketch,
}
