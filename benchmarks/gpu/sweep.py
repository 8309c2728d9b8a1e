"""Every op on one device against its float64 twin there: shapes, dtypes, repeats, streams."""

import contextlib
import time
from functools import partial

import torch

from xferpipe import ops
from xferpipe.ops import loading, reference

COLUMNS = ("op", "input", "error", "allowed", "is_right", "seconds", "note")
# Relative to the largest entry; whole numbers must agree to the bit.
ALLOWED, HALF_ALLOWED = 2e-5, 8e-4


@contextlib.contextmanager
def twins():
    """Run the ops on their torch twins."""
    before = loading._implementation
    loading._implementation = lambda name, kind: getattr(reference, name)
    try:
        yield
    finally:
        loading._implementation = before


def numbers(shape, device, whole=False, seed=0):
    """Draw small whole numbers or normal values."""
    generator = torch.Generator().manual_seed(seed)
    if whole:
        return torch.randint(-2, 3, shape, generator=generator).float().to(device)
    return torch.randn(shape, generator=generator).to(device)


def _flat(result):
    if isinstance(result, float):
        return [torch.tensor(result, dtype=torch.float64)]
    return [result] if isinstance(result, torch.Tensor) else list(result)


def _error(ours, twin):
    """Return the largest difference over the largest entry; infinite where NaN does not agree."""
    worst = 0.0
    for a, b in zip(_flat(ours), _flat(twin)):
        a, b = a.double().cpu(), b.double().cpu()
        if a.shape != b.shape or not torch.equal(a.isnan(), b.isnan()):
            return float("inf")
        if a.numel():
            scale = b.nan_to_num().abs().max().item() or 1.0
            worst = max(worst, (a - b).nan_to_num().abs().max().item() / scale)
    return worst


def runs(device, size):
    """Yield (op, input, function, allowed error) of the sweep."""
    quick = size == "quick"
    shapes = [(1, 1, 1), (3, 5, 7), (20, 140, 37)]
    shapes += [] if quick else [(131, 300, 37), (129, 4097, 512), (700, 9000, 2048)]
    for q, m, d in shapes:
        for dtype in (torch.float32, torch.bfloat16):
            name = f"{q} x {m} x {d}, {str(dtype)[6:]}"
            whole = [numbers((n, d), device, True, n).to(dtype) for n in (q, m)]
            labels = torch.arange(q) % 3 % m, torch.arange(m) % 3
            evaluate = partial(ops.rank_metrics, *whole, *labels, junk_rule="none")
            # Ranks agree; the mean of their fractions is summed in another order.
            yield "rank_metrics", f"{name}, ties", evaluate, 1e-12
            yield "nearest", f"{name}, ties", partial(ops.nearest, *whole, 50), 0.0
            # Opposite signs: equal draws would be at distance 0, where the error is all rounding.
            pair = (numbers((q, d), device, seed=q), -numbers((m, d), device, seed=m))
            normal = [part.to(dtype) for part in pair]
            for distance in ("euclidean", "cosine"):
                lists = partial(ops.nearest, *normal, 5, distance=distance)
                yield "nearest", f"{name}, {distance}", lambda run=lists: run()[0], ALLOWED
                evaluate = partial(evaluate.func, *normal, *labels, junk_rule="none")
                metric = partial(evaluate, distance=distance)
                # Rounding moves neighbours past each other: the metric is what must agree.
                yield "rank_metrics", f"{name}, {distance}", lambda run=metric: run().ap, 0.02
    for n, d in [(2, 1), (1100, 40), (40, 300)] + ([] if quick else [(20_000, 512), (900, 5000)]):
        for dtype in (torch.float32, torch.bfloat16):
            features = numbers((n, d), device).add_(0.3).to(dtype)
            for centered in (False, True):
                name = f"{n} x {d}, {str(dtype)[6:]}, {'centred' if centered else 'raw'}"
                labels = torch.arange(n) % min(n, 10)
                score = partial(ops.label_correlation, features, labels, centered=centered)
                if n > 2:
                    yield "label_correlation", name, score, 1e-5
    for n, p in [(1, 1), (9, 5000)] + ([] if quick else [(300, 100_003), (1700, 9000)]):
        gradients = numbers((n, p), device)
        for precision, allowed in (("float32", ALLOWED), ("float16", HALF_ALLOWED)):
            whole = partial(ops.gradient_gram, gradients, precision=precision)
            yield "gradient_gram", f"{n} x {p}, {precision}", whole, allowed
        for kind in ("sparse", "srht", "rademacher", "gaussian"):
            project = partial(ops.gradient_sketch, gradients, 70, kind=kind, seed=-5)
            yield "gradient_sketch", f"{n} x {p}, {kind}", project, ALLOWED
    sizes = [(5, 20, 33, 9)] + ([] if quick else [(64, 300, 700, 49)])
    for n, outputs, inputs, positions in sizes:
        factors = (
            numbers((n, outputs, positions), device, seed=1),
            numbers((n, inputs, positions), device, seed=2),
        )
        name = f"{n} x {outputs} x {inputs} x {positions}"
        for precision, allowed in (("float32", ALLOWED), ("float16", HALF_ALLOWED)):
            whole = partial(ops.gradient_gram, factors, precision=precision)
            yield "gradient_gram", f"{name}, {precision}", whole, allowed
        for kind in ("kronecker", "sparse", "rademacher"):
            project = partial(ops.gradient_sketch, factors, 100, kind=kind, seed=3)
            yield "gradient_sketch", f"{name}, {kind}", project, ALLOWED
    query, gallery = numbers((20, 16), device), numbers((200, 16), device, seed=1)
    rerank = partial(ops.k_reciprocal, query, gallery, k1=10, k2=4)
    yield "k_reciprocal", "20 x 200 x 16", lambda: rerank().dense(), 1e-4


def _places(device):
    """Yield (name, context) of the other places an op must run in."""
    if device.type != "cuda":
        return
    yield "side stream", torch.cuda.stream(torch.cuda.Stream(device))
    if torch.cuda.device_count() > 1:
        other = (device.index + 1) % torch.cuda.device_count()
        yield "another device is current", torch.cuda.device(other)


def sweep(device, size):
    """Run the sweep and yield its rows."""
    for op, name, function, allowed in runs(device, size):
        start, note = time.perf_counter(), ""
        try:
            ours = function()
            if any(not _same(a, b) for a, b in zip(_flat(ours), _flat(function()))):
                note = "a second run gave other bits"
            for place, context in _places(device):
                with context:
                    moved = [part.cpu() for part in _flat(function())]
                if any(not _same(a, b) for a, b in zip(_flat(ours), moved)):
                    note = f"{place}: other bits"
            with twins():
                error = _error(ours, function())
        except (RuntimeError, ValueError) as problem:
            error, note = float("inf"), str(problem).splitlines()[0]
        yield {
            "op": op,
            "input": name,
            "error": f"{error:.2e}",
            "allowed": f"{allowed:.0e}",
            "is_right": error <= allowed and not note,
            "seconds": f"{time.perf_counter() - start:.2f}",
            "note": note,
        }


def _same(a, b):
    return torch.equal(a.cpu().nan_to_num(-7.0), b.cpu().nan_to_num(-7.0))
