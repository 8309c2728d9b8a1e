"""Degenerate input gives null and a reason; swapped arguments are caught."""

from __future__ import annotations

import math

import numpy
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_data import CASES, made

from xferpipe import scores
from xferpipe.config.scores import METHODS, WITHOUT_FEATURES
from xferpipe.scores import compute

DATA = CASES["tall"]
GRAM = {"ntk_trace": DATA.features @ DATA.features.T}
#: Scores that read nothing of the features that the cases below make degenerate.
OF_SOURCE_HEAD = {"leep", "nce"}
OF_GRADIENTS = {"lgc"}


def everything(features: numpy.ndarray, labels: numpy.ndarray) -> polars.DataFrame:
    n = len(labels)
    rows = numpy.resize(numpy.arange(len(DATA.labels)), n)
    return compute(
        features,
        labels,
        source_probabilities=DATA.source_probabilities[rows],
        reference_features=DATA.reference_features[rows],
        class_means=DATA.class_means,
        class_counts=DATA.class_counts,
        gradient_grams={name: gram[numpy.ix_(rows, rows)] for name, gram in GRAM.items()},
        source_accuracy=0.5,
        parameters=3,
    )


def test_compute_with_all_inputs_values_every_method() -> None:
    table = everything(DATA.features, DATA.labels)
    assert set(table["method"]) == set(METHODS)
    undefined = table.filter(polars.col("value").is_null())
    # The Gram matrix of 45 images from 9 gradients has no inverse, so LGC's bound has no value.
    assert set(undefined["method"] + undefined["variant"]) == {"random", "lgcntk_trace,bound"}
    assert (table["seconds"] >= 0).all()


@pytest.mark.parametrize(
    ("case", "features", "labels", "spared"),
    [
        ("one class", DATA.features, numpy.zeros_like(DATA.labels), set()),
        (
            "constant features",
            numpy.ones_like(DATA.features),
            DATA.labels,
            OF_SOURCE_HEAD | OF_GRADIENTS,
        ),
        (
            "NaN",
            numpy.where(DATA.features > 2, numpy.nan, DATA.features),
            DATA.labels,
            OF_SOURCE_HEAD | OF_GRADIENTS,
        ),
        (
            "infinity",
            numpy.where(DATA.features > 2, numpy.inf, DATA.features),
            DATA.labels,
            OF_SOURCE_HEAD | OF_GRADIENTS,
        ),
        ("one image", DATA.features[:1], DATA.labels[:1], set()),
        ("no image", DATA.features[:0], DATA.labels[:0], set()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_compute_of_degenerate_input_is_null_with_a_reason(
    case: str, features: numpy.ndarray, labels: numpy.ndarray, spared: set[str]
) -> None:
    table = everything(features, labels)
    judged = table.filter(~polars.col("method").is_in(WITHOUT_FEATURES | spared))
    assert judged.height
    assert judged["value"].is_null().all(), judged.filter(polars.col("value").is_not_null())
    assert (judged["reason"].str.len_chars() > 10).all()


@pytest.mark.parametrize("images", [2, 3, 8])
def test_compute_of_one_image_a_class_has_values_or_reasons(images: int) -> None:
    """No scatter within classes: nothing may fail in a library's own words."""
    table = everything(DATA.features[:images], numpy.arange(images))
    lacking = table.filter(polars.col("value").is_null())
    assert {"sfda", "etran"} <= set(lacking["method"])
    assert (lacking["reason"].str.len_chars() > 10).all()


@pytest.mark.parametrize("exponent", [-100, -60, 60, 100])
def test_lfc_of_features_of_any_size_is_the_same(exponent: int) -> None:
    """A correlation knows no scale, though products of such features leave float32."""
    for method in ("lfc", "lfc_centered"):
        expected = getattr(scores, method)(DATA.features, DATA.labels)
        found = getattr(scores, method)(DATA.features * 2.0**exponent, DATA.labels)
        if method == "lfc":
            expected, found = expected[""], found[""]
        assert found == pytest.approx(expected, rel=1e-6)


def test_transrate_with_one_image_far_from_all_others_is_null_with_a_reason() -> None:
    features = DATA.features.copy()
    features[0] = 1e25
    table = compute(features, DATA.labels, ["transrate"])
    assert table["value"].to_list() == [None]
    assert "differ too much" in table["reason"][0]


@pytest.mark.parametrize("method", sorted(set(METHODS) - WITHOUT_FEATURES))
def test_score_with_swapped_arguments_names_the_order(method: str) -> None:
    from xferpipe.scores.registry import arguments_of, resolve

    further = {
        "reference_features": DATA.reference_features,
        "class_means": DATA.class_means,
        "class_counts": DATA.class_counts,
    }
    needed, _ = arguments_of(resolve(method))
    given = {name: value for name, value in further.items() if name in needed}
    first = DATA.source_probabilities if "source_probabilities" in needed else DATA.features
    first = GRAM if "gradient_grams" in needed else first
    with pytest.raises((ValueError, TypeError)) as found:
        resolve(method)(DATA.labels, first, **given)
    assert not isinstance(found.value, scores.Undefined)


def test_domain_similarity_with_means_and_counts_swapped_is_an_error() -> None:
    with pytest.raises(ValueError, match="class_means"):
        scores.domain_similarity(DATA.features, DATA.labels, DATA.class_counts, DATA.class_means)


def test_compute_with_swapped_arguments_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"order \(features, labels\)"):
        compute(DATA.labels, DATA.features, ["lfc"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (DATA.labels[:-1], "one a row"),
        (DATA.labels - 1, "from 0 on"),
        (DATA.labels.astype(float), "integers"),
    ],
)
def test_compute_with_wrong_labels_says_what_is_wrong(labels: numpy.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute(DATA.features, labels, ["knn"])


def test_leep_of_logits_asks_for_probabilities() -> None:
    with pytest.raises(ValueError, match="softmax"):
        scores.leep(DATA.source_probabilities * 5 - 1, DATA.labels)


def test_leep_with_a_source_class_without_mass_has_a_value() -> None:
    empty = numpy.hstack([DATA.source_probabilities, numpy.zeros((len(DATA.labels), 2))])
    assert scores.leep(empty, DATA.labels) == scores.leep(DATA.source_probabilities, DATA.labels)


def test_missing_inputs_give_reasons() -> None:
    table = compute(DATA.features, DATA.labels, ["leep", "rsa", "domain_similarity", "lgc"])
    assert table["value"].is_null().all()
    assert "no source head" in table["reason"][0]


def test_unknown_method_names_what_there_is() -> None:
    message = r"unknown score 'lfcc' \(did you mean 'lfc'\?\); allowed: .*lfc_centered"
    with pytest.raises(ValueError, match=message):
        compute(DATA.features, DATA.labels, ["lfcc"])


def test_n_leep_with_too_few_images_is_null() -> None:
    few = made((3, 3, 3), 8)
    table = compute(few.features, few.labels, ["n_leep"])
    assert table["value"][0] is None
    assert "15 components" in table["reason"][0]


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[numpy.ndarray, numpy.ndarray, bool]:
    """Draw a small probe with something wrong; True where no score of its features is left."""
    n, d = draw(st.integers(0, 12)), draw(st.integers(1, 6))
    generator = numpy.random.default_rng(draw(st.integers(0, 99)))
    features = generator.standard_normal((n, d))
    labels = generator.integers(0, draw(st.integers(1, 4)), n)
    fault = draw(
        st.sampled_from(
            ["one class", "constant", "nan", "infinite", "lone image", "copies", "rank one", "none"]
        )
    )
    if fault == "one class":
        labels = numpy.full(n, 3)
    elif fault == "constant":
        features = numpy.full((n, d), draw(st.sampled_from([0.0, 1.0, -7.5])))
    elif fault in ("nan", "infinite") and n:
        features[draw(st.integers(0, n - 1)), draw(st.integers(0, d - 1))] = (
            numpy.nan if fault == "nan" else -numpy.inf
        )
    elif fault == "lone image" and n:
        labels = numpy.zeros(n, dtype=numpy.int64)
        labels[-1] = 5
    elif fault == "copies" and n:
        features = features[generator.integers(0, max(1, n // 3), n)]
    elif fault == "rank one":
        features = features[:, :1] @ generator.standard_normal((1, d))
    hopeless = (
        n < 2
        or len(set(labels.tolist())) < 2
        or not numpy.isfinite(features).all()
        or not (features != features[0]).any()
    )
    return features, labels, hopeless


@settings(max_examples=60, deadline=None)
@given(probe=spoiled())
def test_no_score_makes_a_number_up_whatever_is_wrong_with_the_probe(
    probe: tuple[numpy.ndarray, numpy.ndarray, bool],
) -> None:
    features, labels, hopeless = probe
    generator = numpy.random.default_rng(0)
    n, d = features.shape
    table = compute(
        features,
        labels,
        source_probabilities=generator.dirichlet(numpy.ones(3), n),
        reference_features=generator.standard_normal((n, 4)),
        class_means=generator.standard_normal((3, d)),
        class_counts=numpy.array([1, 2, 3]),
        gradient_grams={"scalar=logit_sum": features @ features.T},
        source_accuracy=0.5,
        parameters=3,
        bootstrap_samples=12,
    )
    assert set(table["method"]) == set(METHODS), "each score has a row, even if it is a null"
    for row in table.iter_rows(named=True):
        if row["value"] is None:
            assert len(row["reason"]) > 10, row
            assert row["low"] is None, row
        else:
            assert math.isfinite(row["value"]), row
            assert (row["reason"] or "saturated: ").startswith("saturated: "), row
    if hopeless:
        read = table.filter(~polars.col("method").is_in(WITHOUT_FEATURES | OF_SOURCE_HEAD))
        assert read["value"].is_null().all(), read.filter(polars.col("value").is_not_null())


@pytest.mark.parametrize("method", ["sfda", "etran"])
def test_fisher_scores_with_one_image_a_class_are_null(method: str) -> None:
    probe = made((1, 1, 1), 80)
    table = compute(probe.features, probe.labels, [method])
    assert table["value"][0] is None
    assert "equal features" in table["reason"][0]


def test_fisher_shrinkage_of_many_features_is_that_of_few() -> None:
    from xferpipe.scores.fisher import shrinkage_of

    # Every row sums to zero: a start of ones would be a null vector.
    centring = numpy.eye(70) - 1 / 70
    assert shrinkage_of(0.1 * centring) == pytest.approx(math.exp(-0.5), rel=1e-9)


def test_lgc_of_equal_gradients_is_null_whatever_rounding_leaves() -> None:
    gradient = numpy.random.default_rng(0).standard_normal(7)
    gram = numpy.full((3, 3), gradient @ gradient)
    gram[0, 1] = gram[1, 0] = gram[0, 1] * (1 + 2**-52)
    table = compute(
        numpy.eye(3), numpy.array([0, 0, 1]), ["lgc"], gradient_grams={"scalar=logit_sum": gram}
    )
    assert table["value"].is_null().all()
    assert "constant" in table["reason"][0]
