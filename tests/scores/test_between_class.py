"""The shrinkage of the regularised H-score where it is all there is."""

from __future__ import annotations

import numpy
import pytest
from sklearn.covariance import ledoit_wolf

from xferpipe.scores.between_class import ledoit_wolf_shrinkage
from xferpipe.scores.spectrum import centred_spectrum


@pytest.mark.parametrize(("images", "features"), [(40, 2), (100, 3), (40, 5), (9, 30)])
def test_shrinkage_is_that_of_scikit_learn_and_one_at_most(images: int, features: int) -> None:
    """Of equal variances the estimate itself says nothing: it is shrunk altogether."""
    noise = numpy.random.default_rng(1).standard_normal((images, features))
    found = ledoit_wolf_shrinkage(noise, centred_spectrum(noise).sigma)
    assert found == pytest.approx(ledoit_wolf(noise)[1], abs=1e-9)
    assert (found == 1) == (features < 4)
