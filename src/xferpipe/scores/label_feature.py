"""Label-feature correlation (LFC): do features group images as the labels do?

    S = <T - mean T, K - mean K> / (|T - mean T|_F |K - mean K|_F)

with T = F F^T over the features F (n, d) and K = 1 for equal labels, -1 for others, over all n^2
pairs, the diagonal included. No unit; in [-1, 1]. LFC depends on where the features' origin lies;
`lfc_centered` subtracts the mean image first (linear CKA of F with the labels, where the classes
have equally many images).

Undefined: fewer than two images or classes, constant or not finite features, a constant Gram
matrix (for one class or one image it is).
Source: Deshpande et al., arXiv 2102.00084, section 3 (eq. 7 and its normalised form).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import torch

from xferpipe import ops
from xferpipe.scores.gram import correlation_draws, defined_correlation, label_sum, square
from xferpipe.scores.inputs import Undefined, checked
from xferpipe.scores.memory import require_memory

#: Largest features whose products stay well inside float32.
_SMALL, _LARGE = 1e-12, 1e12


def _correlation(features: Any, labels: Any, centered: bool) -> float:
    features, labels = checked(features, labels)
    largest = numpy.abs(features).max()
    if not _SMALL < largest < _LARGE:
        # Products would leave the range of float32; the correlation knows no scale.
        features = features * 2.0 ** -numpy.round(numpy.log2(largest))
    value = ops.label_correlation(
        torch.from_numpy(features), torch.from_numpy(labels), centered=centered
    )
    if not numpy.isfinite(value):
        raise Undefined("the Gram matrix of the features is constant")
    return value


def lfc(
    features: Any, labels: Any, layer_grams: Mapping[str, Any] | None = None
) -> dict[str, float | Undefined]:
    """Correlate the features' Gram matrix with label agreement.

    Args:
        features: Raw features before the classifier, float (n, d).
        labels: Class labels, integer (n).
        layer_grams: Gram matrices T of further layers by name, float (n, n) each.
    Returns:
        The correlation; under `unnormalised`, <T, K> itself (eq. 7), in squared feature units;
        under `layer=<name>`, the correlation of a further layer.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    value = _correlation(features, labels, False)
    features, labels = checked(features, labels)
    found: dict[str, float | Undefined] = {
        "": value,
        "unnormalised": label_sum(features, labels),
    }
    for name, gram in (layer_grams or {}).items():
        found[f"layer={name}"] = defined_correlation(square(gram, len(labels), name), labels)
    return found


def lfc_centered(features: Any, labels: Any) -> float:
    """Correlate the centred features' Gram matrix with label agreement; as `lfc`."""
    return _correlation(features, labels, True)


def lfc_draws(features: Any, labels: Any, counts: numpy.ndarray) -> numpy.ndarray:
    """Return LFC of every bootstrap draw; `counts` (b, n)."""
    return _draws(features, labels, counts, centered=False)


def lfc_centered_draws(features: Any, labels: Any, counts: numpy.ndarray) -> numpy.ndarray:
    """Return centred LFC of every bootstrap draw; `counts` (b, n)."""
    return _draws(features, labels, counts, centered=True)


def _draws(features: Any, labels: Any, counts: numpy.ndarray, *, centered: bool) -> numpy.ndarray:
    features, labels = checked(features, labels)
    require_memory(8 * len(labels) ** 2 * 5, f"LFC's interval over {len(labels):,} images")
    # The mean's own square is the same in all entries, and may be many times as large as what
    # differs; of centred draws, so is all that the mean adds.
    mean = features.mean(axis=0)
    rest = features - mean
    gram = rest @ rest.T
    if not centered:
        along = rest @ mean
        gram += along[:, None] + along
    return correlation_draws(gram, labels, counts, centered=centered)
