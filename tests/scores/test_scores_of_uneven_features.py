"""Scores of features whose channels differ in size, lie far from zero, or have another unit."""

from __future__ import annotations

import numpy
import pytest
from probe_data import CASES, Made, made

from xferpipe import scores
from xferpipe.scores.inputs import Undefined
from xferpipe.scores.score_table import compute
from xferpipe.scores.spectrum import spectrum_of

#: Scores that a common scale of all features does not change, by their formulas.
WITHOUT_UNIT = ("lfc", "lfc_centered", "h_score", "h_score_regularized", "logme", "parc", "knn")
#: Scores that no constant added to a feature changes.
WITHOUT_ORIGIN = ("lfc_centered", "h_score", "h_score_regularized", "transrate", "pactran", "parc")


def values(features: numpy.ndarray, labels: numpy.ndarray, method: str) -> numpy.ndarray:
    table = compute(features, labels, [method]).filter(variant="")
    assert table["reason"].to_list() == [None]
    return table["value"].to_numpy()


@pytest.mark.parametrize("size", [1e-6, 1e-3, 100.0, 1e6])
@pytest.mark.parametrize("method", WITHOUT_UNIT)
def test_unit_of_the_features_changes_nothing(method: str, size: float) -> None:
    data = CASES["tall"]
    expected = values(data.features, data.labels, method)
    assert values(size * data.features, data.labels, method) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("method", WITHOUT_ORIGIN)
def test_origin_of_the_features_changes_nothing(method: str) -> None:
    data = CASES["tall"]
    moved = data.features + numpy.logspace(0, 6, data.features.shape[1])
    expected = values(data.features, data.labels, method)
    assert values(moved, data.labels, method) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [1e-8, 1e4, 1e8])
def test_h_score_counts_a_channel_whatever_its_size(size: float) -> None:
    data = CASES["tall"]
    expected = scores.h_score(data.features, data.labels)
    changed = data.features.copy()
    changed[:, 2] *= size
    assert scores.h_score(changed, data.labels) == pytest.approx(expected, rel=1e-6)


def test_h_score_of_features_that_have_every_direction_is_undefined() -> None:
    """The right value is c - 1 whatever the features: 2.9999999999999996 ranked models."""
    data = made((25, 25, 25, 25), 512)
    with pytest.raises(Undefined, match=r"every model gets 3; use h_score_regularized"):
        scores.h_score(data.features, data.labels)
    assert scores.h_score(data.features[:, :98], data.labels) < 3


@pytest.mark.parametrize("data", CASES.values(), ids=CASES)
@pytest.mark.parametrize("spread", [2, 6, 9])
def test_spectrum_of_channels_of_any_sizes_is_that_of_the_matrix(data: Made, spread: int) -> None:
    features = data.features * numpy.logspace(0, spread, data.features.shape[1])
    features -= features.mean(axis=0)
    left, singular, _ = numpy.linalg.svd(features, full_matrices=False)
    k = numpy.linalg.matrix_rank(data.features - data.features.mean(axis=0))
    sigma, basis = spectrum_of(features)
    assert sigma == pytest.approx(singular[:k] ** 2, rel=1e-6)
    overlap = numpy.abs((basis * left[:, :k]).sum(axis=0))
    assert overlap == pytest.approx(numpy.ones(k), abs=1e-6)


@pytest.mark.parametrize("method", ["n_leep", "sfda"])
def test_saturated_score_says_so(method: str) -> None:
    """Features that are far apart by class: nothing is left to tell models apart by."""
    data = made((8, 9, 7), 40, spread=400.0)
    table = compute(data.features, data.labels, [method])
    assert table["reason"][0].startswith("saturated: ")
    data = made((14, 15, 16), 9, spread=0.3)
    assert compute(data.features, data.labels, [method])["reason"][0] is None
