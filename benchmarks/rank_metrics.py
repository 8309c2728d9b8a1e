"""Re-identification evaluation at VeRi-776's size, and a large gallery."""

import numpy as np
import torch

from xferpipe import ops

from .common import Case


def features(q, m, d, identities, cameras, noise, seed=0):
    """Draw clustered features, identities and cameras."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn((identities, d), generator=generator)
    gid = torch.randint(identities, (m,), generator=generator)
    qid = torch.arange(q) % identities
    query = centre[qid] + noise * torch.randn((q, d), generator=generator)
    gallery = centre[gid] + noise * torch.randn((m, d), generator=generator)
    cameras = [torch.randint(cameras, (n,), generator=generator) for n in (q, m)]
    return query, gallery, qid, gid, *cameras


def torch_distances(query, gallery):
    """Compute the distance matrix the usual way."""
    return query.square().sum(1)[:, None] + gallery.square().sum(1) - 2 * query @ gallery.T


def sorted_evaluation(query, gallery, qid, gid, qcam, gcam):
    """Evaluate by a distance matrix and a sort per query: the field's Python method, our code."""
    dist = torch_distances(query, gallery).numpy()
    qid, gid, qcam, gcam = (part.numpy() for part in (qid, gid, qcam, gcam))
    order = np.argsort(dist, axis=1)
    precision = []
    for i in range(len(dist)):
        row = order[i]
        keep = ~((gid[row] == qid[i]) & (gcam[row] == qcam[i]))
        hits = np.flatnonzero((gid[row] == qid[i])[keep])
        if len(hits):
            precision.append(np.mean(np.arange(1, len(hits) + 1) / (hits + 1)))
    return float(np.mean(precision))


SIZES = {"full": (1678, 11579, 2048), "quarter": (839, 5790, 2048), "quick": (200, 1500, 256)}


def cases(size):
    """Return one case; see docs/performance.md for peers measured once outside."""
    q, m, d = SIZES[size]
    data = features(q, m, d, 200, 20, 3.0)
    query, gallery = data[:2]
    halves = (query.bfloat16(), gallery.bfloat16(), *data[2:])
    some = slice(0, q // 8)
    eighth = (query[some], gallery, data[2][some], data[3], data[4][some], data[5])
    sort = "baseline of ours: matrix + numpy sort"
    contenders = {
        "ours, float32": lambda: ops.rank_metrics(*data),
        "ours, bfloat16": lambda: ops.rank_metrics(*halves),
        "torch distance matrix alone": lambda: torch_distances(query, gallery),
        sort: lambda: sorted_evaluation(*eighth),
    }
    missing = {}
    try:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        name = f"faiss-cpu {faiss.__version__} top 50"
        contenders[name] = lambda: faiss.knn(query.numpy(), gallery.numpy(), 50)
    except ImportError:
        missing["faiss-cpu top 50"] = "pip install faiss-cpu"
    name = f"CMC, mAP, mINP of {q} x {m} x {d}"
    notes = {sort: "an eighth of the queries only"}
    return [Case(name, "ours, float32", contenders, 2.0 * q * m * d, missing, notes)]
