"""What is timed on a GPU, against which peers and which goals."""

from dataclasses import dataclass, field
from functools import partial

import torch

from xferpipe import ops
from xferpipe.ops.loading import call

from .. import gradient_gram, label_correlation
from ..rank_metrics import torch_distances

ABSENT = {
    "faiss-gpu": "no package of the index installs beside torch's CUDA build",
    "fast_jl": "builds against an older torch only",
}
FULL = {
    # queries, gallery, features, identities, distractors: VeRi-776, Market-1501 with 500,000 more
    "evaluation": (1678, 11_579, 2048, 200, 0),
    "large": (3368, 19_732, 512, 750, 500_000),
    "correlation": (20_000, 2048),
    "gram": (5000, 2048, 512, 49),
    "sketch": (512, 1_048_576, 10_240),
}
QUICK = {
    "evaluation": (32, 200, 32, 4, 0),
    "large": (16, 100, 16, 4, 400),
    "correlation": (300, 32),
    "gram": (12, 32, 40, 9),
    "sketch": (4, 5000, 64),
}


@dataclass
class GpuCase:
    """One comparison on a device. Contenders are whole calls, with all data on the device.

    Attributes:
        name: What is computed and its size.
        ours: Name of the contender that shares and ratios are of.
        contenders: Functions without arguments, by name.
        operations: Floating-point operations that the result needs.
        bytes: Bytes that must be read and written at least.
        goals: Milliseconds that we aim at, by contender.
        missing: Peers that are not here, with the reason.
    """

    name: str
    ours: str
    contenders: dict
    operations: float
    bytes: float
    goals: dict = field(default_factory=dict)
    missing: dict = field(default_factory=dict)


def draw(device, *shape, seed=0):
    """Draw normal values on the device."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=device)


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


def reidentification(shape, device):
    """Draw clustered features, identities and cameras, and distractors that are nobody's."""
    q, m, d, identities, distractors = shape
    number = partial(torch.randint, generator=torch.Generator(device).manual_seed(3), device=device)
    centre = draw(device, identities, d)
    qid = torch.arange(q, device=device) % identities
    gid = number(identities, (m,))
    query = centre[qid] + 3.0 * draw(device, q, d, seed=1)
    gallery = centre[gid] + 3.0 * draw(device, m, d, seed=2)
    if distractors:
        own = 10.0**0.5 * draw(device, distractors, d, seed=4)
        gallery = torch.cat([gallery, own])
        gid = torch.cat([gid, identities + torch.arange(distractors, device=device)])
    return query, gallery, qid, gid, number(20, (q,)), number(20, (len(gid),))


def _ranking(name, shape, device, goals):
    query, gallery, *labels = reidentification(shape, device)
    (q, d), m = query.shape, len(gallery)
    half = query.bfloat16(), gallery.bfloat16()
    contenders = {
        "ours, float32": lambda: ops.rank_metrics(query, gallery, *labels),
        "ours, bfloat16": lambda: ops.rank_metrics(*half, *labels),
        "ours, nearest 50": lambda: ops.nearest(query, gallery, 50),
        "torch matmul + sort": lambda: matmul_and_sort(query, gallery, *labels),
        "torch cdist + top 50": lambda: cdist_and_topk(query, gallery, min(50, m)),
        "torch product alone": lambda: [part @ gallery.T for part in query.split(512)],
    }
    size = f"{name}: CMC, mAP, mINP of {q} x {m} x {d}"
    moved = 4.0 * (q + m) * d
    missing = {"faiss-gpu top 50": ABSENT["faiss-gpu"]}
    return GpuCase(size, "ours, float32", contenders, 2.0 * q * m * d, moved, goals, missing)


def _reranking(shape, device):
    query, gallery, *_ = reidentification(shape, device)
    n, d = len(query) + len(gallery), query.shape[1]
    items = torch.cat([query, gallery])
    norms = call("squared_norms", items)
    kept = torch.empty((len(query), len(gallery)), device=device)
    lists = "ours, lists of 21"
    contenders = {
        lists: lambda: call("k_reciprocal_neighbours", query, gallery, norms, 21, kept),
        "ours, whole (sparse rows by the CPU)": lambda: ops.k_reciprocal(query, gallery),
        "torch cdist + top 21": lambda: cdist_and_topk(items, items, 21),
    }
    name, moved = f"k-reciprocal of {n} x {d}", 4.0 * n * d
    return GpuCase(name, lists, contenders, 2.0 * n * n * d, moved, {lists: 4.0})


def _correlation(shape, device):
    n, d = shape
    data = draw(device, n, d) + 0.2
    half, labels = data.bfloat16(), torch.arange(n, device=device) % 100
    contenders = {
        "ours, float32": lambda: ops.label_correlation(data, labels),
        "ours, bfloat16": lambda: ops.label_correlation(half, labels),
        "identity in torch": lambda: label_correlation.identity(data, labels),
        "naive n x n in torch": lambda: label_correlation.naive(data, labels),
    }
    operations, moved = 1.0 * n * d * min(n, d), 4.0 * n * d
    goals = {"ours, float32": 0.8, "ours, bfloat16": 0.35}
    return GpuCase(f"LFC, n {n}, d {d}", "ours, float32", contenders, operations, moved, goals)


def _gram(shape, device):
    n, outputs, inputs, positions = shape
    factors = tuple(draw(device, n, c, positions, seed=c) for c in (outputs, inputs))
    few = tuple(part[:512] for part in factors)
    contenders = {
        "ours, float16": lambda: ops.gradient_gram(factors, precision="float16"),
        "ours, float32": lambda: ops.gradient_gram(factors),
        "ours, float32, 512 samples at most": lambda: ops.gradient_gram(few),
        "torch, materialise and mm, 512 samples at most": lambda: gradient_gram.materialise(few),
        "ours, Kronecker sketch to 10,000": lambda: ops.gradient_sketch(
            factors, 10_000, kind="kronecker", seed=0
        ),
    }
    p = outputs * inputs
    name = f"exact LGC, {n} x {p} from factors"
    moved = 4.0 * n * (outputs + inputs) * positions
    goals = {"ours, float16": 70.0, "ours, float32": 150.0}
    return GpuCase(name, "ours, float32", contenders, 1.0 * n * n * p, moved, goals)


def _sketch(shape, device):
    n, p, k = shape
    data = draw(device, n, p)
    bucket = torch.randint(k, (p,), generator=torch.Generator().manual_seed(1)).to(device)
    sign = (torch.arange(p, device=device) % 2 * 2 - 1).float()

    def project(kind, precision="float32"):
        return lambda: ops.gradient_sketch(data, k, kind=kind, seed=0, precision=precision)

    sparse = {
        "ours, sparse": project("sparse"),
        "ours, srht": project("srht"),
        "torch index_add_": lambda: data.new_zeros((n, k)).index_add_(1, bucket, data * sign),
    }
    name = f"sketch of {n} x {p} to {k}"
    moved = 4.0 * (n * p + n * k)
    goals = {"ours, sparse": 1.2}
    yield GpuCase(f"sparse {name}", "ours, sparse", sparse, 2.0 * n * p, moved, goals)

    def made_by_torch():
        out = data.new_zeros((n, k))
        for first in range(0, p, 8192):
            rows = torch.randint(0, 2, (min(8192, p - first), k), device=device) * 2.0 - 1.0
            out += data[:, first : first + 8192] @ rows
        return out

    dense = {
        "ours, float16": project("rademacher", "float16"),
        "ours, float32": project("rademacher"),
        "torch, signs drawn in blocks": made_by_torch,
        "ours, gaussian": project("gaussian"),
    }
    missing = {"fast_jl": ABSENT["fast_jl"]}
    goals = {"ours, float16": 25.0, "ours, float32": 50.0}
    operations = 2.0 * n * p * k
    yield GpuCase(f"dense {name}", "ours, float32", dense, operations, moved, goals, missing)


def cases(size, device):
    """Yield functions that make the cases of one size: their data does not lie there at once."""
    shapes = FULL if size == "full" else QUICK
    veri = {"ours, float32": 0.9, "ours, bfloat16": 0.5, "ours, nearest 50": 1.0}
    large = {"ours, float32": 16.0, "ours, bfloat16": 9.0}
    yield "ranking", lambda: [_ranking("VeRi size", shapes["evaluation"], device, veri)]
    yield "correlation", lambda: [_correlation(shapes["correlation"], device)]
    yield "large", lambda: [_ranking("large gallery", shapes["large"], device, large)]
    yield "sketch", lambda: _sketch(shapes["sketch"], device)
    yield "gram", lambda: [_gram(shapes["gram"], device)]
    yield "rerank", lambda: [_reranking(shapes["evaluation"], device)]
