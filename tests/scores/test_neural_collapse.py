"""NCTI's shrinkage, where there are more components than it looks at."""

from __future__ import annotations

import numpy
import pytest
from probe_data import made
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from xferpipe.scores import ncti


def test_shrinkage_follows_the_first_32_of_40_components() -> None:
    """Small features: where exp(-v) is no rounding, every component that counts is felt."""
    data = made((20, 21, 22), 40)
    features = 0.3 * data.features
    analysis = PCA(40, svd_solver="full")
    points = analysis.fit_transform(features)
    variances = analysis.explained_variance_
    assert variances[32:].sum() > 0.01 * variances.sum()
    shrinkage = float(numpy.exp(-variances[:32].sum()))
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(points, data.labels)
    chance = model.predict_proba(points)[numpy.arange(63), data.labels]
    assert ncti(features, data.labels)["part=nearest_center"] == pytest.approx(
        chance.mean(), rel=1e-9
    )
