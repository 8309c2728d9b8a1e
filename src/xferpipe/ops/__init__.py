"""The hot path: exact label correlation, ranking metrics, neighbours and gradient sketches.

Each op runs on a native kernel where there is one for the device, and on a torch twin elsewhere;
`native_status()` says which and why.
"""

from .gradient_gram import gradient_gram
from .gradient_sketch import GradientPlan, gradient_plan, gradient_sketch
from .k_reciprocal import SparseRows, k_reciprocal
from .label_correlation import label_correlation
from .loading import NativeStatus, native_status
from .nearest import nearest
from .rank_metrics import RankMetrics, rank_metrics, rank_metrics_from_distances

__all__ = [
    "GradientPlan",
    "NativeStatus",
    "RankMetrics",
    "SparseRows",
    "gradient_gram",
    "gradient_plan",
    "gradient_sketch",
    "k_reciprocal",
    "label_correlation",
    "native_status",
    "nearest",
    "rank_metrics",
    "rank_metrics_from_distances",
]
