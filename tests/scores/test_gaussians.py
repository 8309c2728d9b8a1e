"""The Gaussian mixture against scikit-learn's, with fewer and with more points than dimensions."""

from __future__ import annotations

import numpy
import pytest
from sklearn.mixture import GaussianMixture

from xferpipe.scores.gaussians import posterior


@pytest.mark.parametrize(
    ("n", "k", "components", "scale"),
    [
        (120, 2, 4, 1.0),  # overlapping, from covariances
        (60, 30, 12, 1.0),  # from the directions that five points span
        (90, 12, 6, 1.0),  # both kinds among the components
        (60, 8, 10, 1e-3),  # spread comparable with the added variance: posteriors stay soft
        (9, 4, 9, 1.0),  # a component for each point
    ],
)
def test_posterior_is_that_of_scikit_learn(n: int, k: int, components: int, scale: float) -> None:
    for seed in range(3):
        points = scale * numpy.random.default_rng(seed).standard_normal((n, k))
        mixture = GaussianMixture(components, random_state=seed).fit(points)
        found = posterior(points, components, seed)
        numpy.testing.assert_allclose(found, mixture.predict_proba(points), atol=1e-6)


def test_posterior_over_soft_components_is_not_that_of_the_start() -> None:
    points = numpy.random.default_rng(0).standard_normal((120, 2))
    found = posterior(points, 4, 0)
    numpy.testing.assert_allclose(found.sum(axis=1), 1)
    assert ((found > 0.01) & (found < 0.99)).any()
