"""Closed-form scores to 1e-6, whatever the features' origin, unit, number and balance.

`exact.py` writes them out. Not here: N-LEEP, whose mixture is compared with scikit-learn's in
`test_gaussians.py`; LEEP, NCE and domain similarity, which see no such features or solve a problem
of transport (`test_scores_references.py`).
"""

from __future__ import annotations

import itertools

import numpy
import pytest
from exact import OF_PAIRS, WRITTEN_OUT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from xferpipe.scores.inputs import Undefined
from xferpipe.scores.registry import resolve
from xferpipe.scores.representation import ranks

#: Images and features of the fast part: fewer and more features than images, and two alone.
SHAPES = [(10, 2), (10, 40), (60, 7), (60, 90), (100, 30)]
LARGE = [(5000, 2), (5000, 130), (10, 2048), (500, 2048), (5000, 2048)]
KINDS = {
    "plain": (1.0, 0.0),
    "offset": (1.0, 1e6),
    "scaled": (1e6, 0.0),
    "both": (1e6, 1e6),
}
#: Images, and features, beyond which the written-out form would take hours.
_MOST = {
    "linear_probe": (500, 2048),
    "pactran": (5000, 130),
    "rsa": (500, 2048),
    "rsa_zscored": (500, 2048),
}
#: Variants that a common scale of all features does not change; scores without these feel it.
WITHOUT_UNIT = {
    "lfc": ("",),
    "lfc_centered": ("",),
    "feature_metrics": ("", "variance", "zeros", "hoyer"),
    "h_score": ("",),
    "h_score_regularized": ("",),
    "logme": ("",),
    "parc": ("",),
    "rsa": ("",),
    "rsa_zscored": ("",),
    "knn": ("",),
    "linear_probe": ("",),
}
FEELS_THE_UNIT = {"transrate", "gbc_diagonal", "gbc_spherical", "sfda", "ncti", "etran", "pactran"}


def probe(
    n: int, d: int, *, balanced: bool, scale: float, offset: float, seed: int = 0
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Draw Gaussian classes in channels of sizes 1 to `scale`, at places of 1 to `offset`."""
    r = numpy.random.default_rng(seed)
    shares = numpy.array([0.25] * 4 if balanced else [0.5, 0.3, 0.14, 0.06])
    if n < 20:
        shares = numpy.array([0.5, 0.5] if balanced else [0.7, 0.3])
    counts = numpy.round(shares * n).astype(int)
    counts[0] += n - counts.sum()
    labels = r.permutation(numpy.repeat(numpy.arange(len(counts)), counts))
    features = r.standard_normal((n, d)) + 0.7 * r.standard_normal((len(counts), d))[labels]
    features = features * numpy.geomspace(1, scale, d)
    if offset:
        features = features + r.permutation(numpy.geomspace(1, offset, d))
    return features, labels


def further(name: str, labels: numpy.ndarray) -> list[numpy.ndarray]:
    """Return what a score reads beside features and labels: another network's features."""
    if name not in OF_PAIRS:
        return []
    r = numpy.random.default_rng(1)
    return [r.standard_normal((len(labels), 7)) + r.standard_normal((labels.max() + 1, 7))[labels]]


def parts(value: float | dict[str, float]) -> dict[str, float]:
    return value if isinstance(value, dict) else {"": value}


ALL = [*itertools.product((True, False), KINDS, (numpy.float64, numpy.float32))]
#: What is left of them where each takes seconds: the easiest and the hardest; then that alone.
FEW = [(True, "plain", numpy.float64), (False, "both", numpy.float32)]


def forms(n: int, d: int) -> list[tuple[bool, str, type]]:
    if n * d < 1e4:
        return ALL
    return FEW if n * d < 1e5 else FEW[1:]


def check(name: str, n: int, d: int) -> None:
    for balanced, kind, given_as in forms(n, d):
        scale, offset = KINDS[kind]
        features, labels = probe(n, d, balanced=balanced, scale=scale, offset=offset)
        others = further(name, labels)
        taken = features.astype(given_as)
        if name == "h_score" and d >= n - 1:
            with pytest.raises(Undefined, match="every model gets"):
                resolve(name)(taken, labels)
            continue
        found = parts(resolve(name)(taken, labels, *others))
        expected = (WRITTEN_OUT | OF_PAIRS)[name](taken.astype(float), labels, *others)
        for variant, value in parts(expected).items():
            assert found[variant] == pytest.approx(value, rel=1e-6, abs=1e-12), (
                f"{variant!r}, balanced {balanced}, {kind}, {given_as.__name__}"
            )


NAMES = [*WRITTEN_OUT, *OF_PAIRS]


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_score_is_what_is_written_out_to_a_millionth(name: str, n: int, d: int) -> None:
    check(name, n, d)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), LARGE)
@pytest.mark.parametrize("name", NAMES)
def test_score_of_many_images_is_what_is_written_out(name: str, n: int, d: int) -> None:
    images, dimensions = _MOST.get(name, (5000, 2048))
    if n > images or (d > dimensions and n > 100):
        pytest.skip("written out, it would take hours")
    check(name, n, d)


def test_every_score_that_is_written_out_is_said_to_feel_the_unit_or_not() -> None:
    assert set(NAMES) == set(WITHOUT_UNIT) | FEELS_THE_UNIT
    assert not set(WITHOUT_UNIT) & FEELS_THE_UNIT


@settings(max_examples=15, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    seed=st.integers(0, 99),
    n=st.sampled_from([12, 30]),
    d=st.sampled_from([3, 8, 45]),
)
@pytest.mark.parametrize("name", WITHOUT_UNIT)
def test_order_of_models_is_the_same_in_any_unit(
    name: str, scale: float, seed: int, n: int, d: int
) -> None:
    if name == "h_score" and d >= n - 1:
        return
    models = [
        probe(n, d, balanced=True, scale=10.0**i, offset=10.0**i, seed=seed) for i in range(4)
    ]
    for variant in WITHOUT_UNIT[name]:
        orders = []
        for unit in (1.0, scale):
            values = [
                parts(resolve(name)(unit * f, y, *further(name, y)))[variant] for f, y in models
            ]
            orders.append(rankdata(numpy.round(values, 9)))
        assert orders[0].tolist() == orders[1].tolist()


@pytest.mark.parametrize("name", sorted(FEELS_THE_UNIT))
def test_score_that_feels_the_unit_does(name: str) -> None:
    features, labels = probe(30, 8, balanced=True, scale=1.0, offset=0.0)
    one, other = (parts(resolve(name)(unit * features, labels)) for unit in (1.0, 1e-3))
    assert any(one[part] != pytest.approx(other[part], rel=1e-3) for part in one)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0, 1e-300, 2.0, numpy.inf]), max_size=30))
def test_ranks_are_those_of_scipy(values: list[float]) -> None:
    assert ranks(numpy.array(values)).tolist() == rankdata(values).tolist()
