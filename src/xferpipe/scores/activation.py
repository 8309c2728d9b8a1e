"""Feature metrics: statistics of the features alone, as far as the published description goes.

The published combination is not known; ours is an interpretation with named parts, each a fraction:

    variance   mean over channels of the variance over images, over the mean squared feature
    zeros      share of features that are exactly 0
    hoyer      mean_i (sqrt d - |f_i|_1 / |f_i|_2) / (sqrt d - 1), 0 for even and 1 for one-hot
    (default)  variance + zeros + hoyer
    channel_variance  the variance before it is divided, in squared feature units

Undefined: fewer than two images or classes, constant or not finite features, one feature alone. An
image whose features are all 0 counts 0 in hoyer, which has no value there.
Source: this package; Hoyer's sparsity: Hoyer, JMLR 2004.
"""

from __future__ import annotations

from typing import Any

import numpy

from xferpipe.scores.inputs import Undefined, checked


def feature_metrics(features: Any, labels: Any) -> dict[str, float]:
    """Return the sum of three statistics of the features, and each of them.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n); checked, not used.
    Returns:
        The sum and its parts, fractions; `channel_variance` in squared feature units.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, _ = checked(features, labels)
    d = features.shape[1]
    if d < 2:
        raise Undefined("one feature alone has no sparsity")
    channel = float(features.var(axis=0).mean())
    absolute = numpy.abs(features).sum(axis=1)
    norm = numpy.linalg.norm(features, axis=1)
    ratio = numpy.divide(absolute, norm, out=numpy.full_like(norm, d**0.5), where=norm > 0)
    parts = {
        "variance": channel / float((features**2).mean()),
        "zeros": float((features == 0).mean()),
        "hoyer": float(((d**0.5 - ratio) / (d**0.5 - 1)).mean()),
    }
    return {"": sum(parts.values())} | parts | {"channel_variance": channel}
