"""Top-50 lists at VeRi-776's size."""

import torch

from xferpipe import ops

from .common import Case
from .rank_metrics import SIZES, features


def cases(size):
    """Return one case."""
    q, m, d = SIZES[size]
    query, gallery, *_ = features(q, m, d, 200, 20, 3.0)
    contenders = {
        "ours": lambda: ops.nearest(query, gallery, 50),
        "torch cdist + topk": lambda: torch.cdist(query, gallery).topk(50, largest=False),
    }
    missing = {}
    try:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        contenders[f"faiss-cpu {faiss.__version__}"] = lambda: faiss.knn(
            query.numpy(), gallery.numpy(), 50
        )
    except ImportError:
        missing["faiss-cpu"] = "pip install faiss-cpu"
    return [Case(f"top 50 of {q} x {m} x {d}", "ours", contenders, 2.0 * q * m * d, missing)]
