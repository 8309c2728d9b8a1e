"""What is timed on a GPU, against which peers and which goals."""

from dataclasses import dataclass, field

import torch

from xferpipe import ops
from xferpipe.ops.loading import call
from xferpipe.ops.pairs import make_pairs

from .. import gradient_gram, label_correlation
from ..rank_metrics import features, torch_distances

ABSENT = {
    "faiss-gpu": "no package of the index installs beside torch's CUDA build",
    "fast_jl": "builds against an older torch only",
}
FULL = {
    "evaluation": (1678, 11579, 2048),
    "large": (3368, 519_732, 512),
    "correlation": (20_000, 2048),
    "gram": (5000, 2048, 512, 49),
    "sketch": (512, 1_048_576, 10_240),
}
QUICK = {
    "evaluation": (32, 200, 32),
    "large": (16, 500, 16),
    "correlation": (300, 32),
    "gram": (12, 32, 40, 9),
    "sketch": (4, 5000, 64),
}


@dataclass
class GpuCase:
    """One comparison on a device.

    Attributes:
        name: What is computed and its size.
        ours: Name of our contender.
        contenders: Functions without arguments, by name.
        operations: Floating-point operations that the result needs.
        bytes: Bytes that must be read and written at least.
        goal_ms: Milliseconds that we aim at on an H200, None where nothing is said.
        missing: Peers that are not here, with the reason.
    """

    name: str
    ours: str
    contenders: dict
    operations: float
    bytes: float
    goal_ms: float | None = None
    missing: dict = field(default_factory=dict)


def matmul_and_sort(query, gallery, qid, gid, qcam, gcam):
    """Evaluate by a distance matrix and a sort on the device, 256 queries at a time."""
    total = []
    for first in range(0, len(query), 256):
        own = slice(first, first + 256)
        order = torch_distances(query[own].float(), gallery.float()).argsort(dim=1)
        hit = gid[order] == qid[own, None]
        keep = ~(hit & (gcam[order] == qcam[own, None]))
        hit &= keep
        rank = keep.cumsum(1)
        precision = hit.cumsum(1) / rank.clamp(min=1)
        total.append((precision * hit).sum(1) / hit.sum(1).clamp(min=1))
    return torch.cat(total).mean()


def cdist_and_topk(query, gallery, k):
    """Find the nearest rows by torch's distance matrix, 512 queries at a time."""
    parts = [torch.cdist(part, gallery).topk(k, largest=False) for part in query.split(512)]
    return torch.cat([part.indices for part in parts])


def _ranking(name, shape, device, goal):
    q, m, d = shape
    query, gallery, *labels = features(q, m, d, max(2, q // 8), 20, 3.0)
    query, gallery = query.to(device), gallery.to(device)
    half = query.bfloat16(), gallery.bfloat16()
    there = [part.to(device) for part in labels]
    pairs = make_pairs(q, m, *labels, junk_rule="same_camera", positives=None, junk=None)
    pairs = pairs.to(device)

    def device_work():
        norms = call("squared_norms", gallery)
        lists = (query, gallery, norms, pairs.offsets, pairs.index)
        scores = call("rank_metrics_scores", *lists, 0)
        return call("rank_metrics_counts", *lists, scores, 0, 0)

    contenders = {
        "ours, float32": lambda: ops.rank_metrics(query, gallery, *labels),
        "ours, float32, without making lists and summary": device_work,
        "ours, bfloat16": lambda: ops.rank_metrics(*half, *labels),
        "torch matmul + sort": lambda: matmul_and_sort(query, gallery, *there),
        "torch cdist + top 50": lambda: cdist_and_topk(query, gallery, min(50, m)),
        "ours, nearest 50": lambda: ops.nearest(query, gallery, 50),
    }
    size = f"{name}: CMC, mAP, mINP of {q} x {m} x {d}"
    moved = 4.0 * (q + m) * d
    missing = {"faiss-gpu top 50": ABSENT["faiss-gpu"]}
    return GpuCase(size, "ours, float32", contenders, 2.0 * q * m * d, moved, goal, missing)


def _correlation(shape, device):
    n, d = shape
    data = (torch.randn((n, d), generator=torch.Generator().manual_seed(0)) + 0.2).to(device)
    half, labels = data.bfloat16(), torch.arange(n) % 100
    there = labels.to(device)
    contenders = {
        "ours, float32": lambda: ops.label_correlation(data, labels),
        "ours, bfloat16": lambda: ops.label_correlation(half, labels),
        "identity in torch": lambda: label_correlation.identity(data, there),
        "naive n x n in torch": lambda: label_correlation.naive(data, there),
    }
    operations, moved = 1.0 * n * d * min(n, d), 4.0 * n * d
    return GpuCase(f"LFC, n {n}, d {d}", "ours, bfloat16", contenders, operations, moved, 0.25)


def _gram(shape, device):
    n, outputs, inputs, positions = shape
    generator = torch.Generator().manual_seed(0)
    factors = [torch.randn((n, c, positions), generator=generator) for c in (outputs, inputs)]
    factors = tuple(part.to(device) for part in factors)
    contenders = {
        "ours, from factors": lambda: ops.gradient_gram(factors),
        "ours, Kronecker sketch to 10,000": lambda: ops.gradient_sketch(
            factors, 10_000, kind="kronecker", seed=0
        ),
    }
    few = tuple(part[:512] for part in factors)
    contenders["torch, materialise and mm, 512 samples at most"] = lambda: (
        gradient_gram.materialise(few)
    )
    p = outputs * inputs
    name = f"exact LGC, {n} x {p} from factors"
    moved = 4.0 * n * (outputs + inputs) * positions
    return GpuCase(name, "ours, from factors", contenders, 1.0 * n * n * p, moved, 55.0)


def _sketch(shape, device):
    n, p, k = shape
    data = torch.randn((n, p), generator=torch.Generator().manual_seed(0)).to(device)
    bucket = torch.randint(k, (p,), generator=torch.Generator().manual_seed(1)).to(device)
    sign = (torch.arange(p, device=device) % 2 * 2 - 1).float()

    def project(kind):
        return lambda: ops.gradient_sketch(data, k, kind=kind, seed=0)

    sparse = {
        "ours, sparse": project("sparse"),
        "ours, srht": project("srht"),
        "torch index_add_": lambda: data.new_zeros((n, k)).index_add_(1, bucket, data * sign),
    }
    name = f"sketch of {n} x {p} to {k}"
    moved = 4.0 * (n * p + n * k)
    yield GpuCase(f"sparse {name}", "ours, sparse", sparse, 2.0 * n * p, moved, 0.8)

    def made_by_torch():
        out = data.new_zeros((n, k))
        for first in range(0, p, 8192):
            rows = torch.randint(0, 2, (min(8192, p - first), k), device=device) * 2.0 - 1.0
            out += data[:, first : first + 8192] @ rows
        return out

    dense = {
        "ours, rademacher": project("rademacher"),
        "ours, gaussian": project("gaussian"),
        "torch, signs drawn in blocks": made_by_torch,
    }
    missing = {"fast_jl": ABSENT["fast_jl"]}
    operations = 2.0 * n * p * k
    yield GpuCase(f"dense {name}", "ours, rademacher", dense, operations, moved, 19.0, missing)


def cases(size, device):
    """Yield the cases one by one: their data does not lie on the device at once."""
    shapes = FULL if size == "full" else QUICK
    yield _ranking("VeRi size", shapes["evaluation"], device, 0.6)
    yield _ranking("large gallery", shapes["large"], device, 10.0)
    yield _correlation(shapes["correlation"], device)
    yield _gram(shapes["gram"], device)
    yield from _sketch(shapes["sketch"], device)
