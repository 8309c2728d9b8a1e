"""NCTI: how near the features are to the neural collapse that training ends in.

Features are reduced to 64 principal components (fewer where they have no more) and projected by a
linear discriminant (shrunk by exp(-v), v the variance of the first 32 components, where that
exceeds 1e-10). Raw parts, scaled to [0, 1] over the pool of models and added with their signs at
aggregation:

    part=seli            + nuclear norm of the centred projected features
    part=nearest_center  + mean posterior of the true class, a fraction
    part=variability     - log of the summed nuclear norms of each class's posteriors

Undefined: fewer than two images or classes, as many classes as images, constant or not finite
features.
Source: Wang et al., ICCV 2023; the steps of its authors' code.
"""

from __future__ import annotations

from typing import Any

import numpy
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from xferpipe.scores.inputs import Undefined, checked
from xferpipe.scores.spectrum import Spectrum, centred_spectrum

COMPONENTS = 64


def ncti(features: Any, labels: Any, spectrum: Spectrum | None = None) -> dict[str, float]:
    """Return the raw parts of NCTI.

    Args:
        features: Features, float (n, d).
        labels: Class labels, integer (n).
        spectrum: Spectrum of the centred features, where it is at hand.
    Returns:
        `part=seli`, `part=nearest_center` and `part=variability`.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    features, labels = checked(features, labels)
    if labels.max() + 1 == len(labels):
        raise Undefined("every probe image has a class of its own")
    sigma, basis = spectrum or centred_spectrum(features)
    points = basis[:, :COMPONENTS] * numpy.sqrt(sigma[:COMPONENTS])
    shrinkage = float(numpy.exp(-sigma[:32].sum() / (len(features) - 1)))
    if shrinkage > 1e-10:
        discriminant = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage)
    else:
        discriminant = LinearDiscriminantAnalysis(solver="svd")
    projected = discriminant.fit_transform(points, labels)
    posterior = discriminant.predict_proba(points)
    nuclear = sum(
        numpy.linalg.norm(posterior[labels == label], ord="nuc")
        for label in range(labels.max() + 1)
    )
    return {
        "part=seli": float(numpy.linalg.norm(projected - projected.mean(axis=0), ord="nuc")),
        "part=nearest_center": float(posterior[numpy.arange(len(labels)), labels].mean()),
        "part=variability": float(numpy.log(nuclear)),
    }
