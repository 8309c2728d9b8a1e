"""Ranked lists, examples and query expansion."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe.retrieval import evaluate
from xferpipe.retrieval.comparison import compared
from xferpipe.retrieval.expansion import expanded
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.query_figures import QueryFigures
from xferpipe.retrieval.ranked_lists import examples, ranked_lists


def figures_of(ap, positives=None):
    count = len(ap)
    return QueryFigures(
        ap=numpy.array(ap, dtype=float),
        inp=numpy.zeros(count),
        first_hit=numpy.ones(count, dtype=int),
        positives=numpy.ones(count, dtype=int) if positives is None else numpy.array(positives),
        junk=numpy.zeros(count, dtype=int),
    )


def test_examples_worst_median_and_best_by_precision():
    ap = [0.5, 0.1, 0.9, 0.2, 0.4, 0.6, 0.8]
    assert examples(figures_of(ap), 1) == {1: "worst", 0: "median", 2: "best"}
    assert (
        list(examples(figures_of(ap), 2).values()) == ["worst"] * 2 + ["median"] * 2 + ["best"] * 2
    )


def test_examples_queries_without_a_positive_are_never_shown():
    ap = [numpy.nan, 0.3, 0.7]
    assert examples(figures_of(ap, [0, 1, 1]), 1) == {1: "worst", 2: "best"}


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 12), each=st.integers(0, 5))
def test_examples_few_queries_are_shown_once(count, each):
    shown = examples(figures_of(numpy.linspace(0, 1, count)), each)
    assert len(shown) == min(count, 3 * each) or count < 3 * each
    assert all(0 <= row < count for row in shown)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_ranked_lists_distances_are_the_wanted_ones(distance, normalised, offset):
    """Whatever the ops were asked for: far features take another path to the same distances."""
    random = numpy.random.default_rng(1)
    query, gallery = random.normal(size=(4, 5)) + offset, random.normal(size=(30, 5)) + offset
    labels = Labels.of([0] * 4, [0] * 30)
    with compared(query, gallery, distance=distance, normalised=normalised) as comparison:
        lists = ranked_lists(comparison, labels, 30)

    def unit(values):
        return values / numpy.linalg.norm(values, axis=1, keepdims=True)

    if distance == "cosine":
        expected = ((unit(query)[:, None] - unit(gallery)[None]) ** 2).sum(-1) / 2
    else:
        left, right = (unit(query), unit(gallery)) if normalised else (query, gallery)
        expected = numpy.sqrt(((left[:, None] - right[None]) ** 2).sum(-1))
    found = numpy.take_along_axis(expected, lists.gallery, axis=1)
    numpy.testing.assert_allclose(lists.distance, found, rtol=1e-4, atol=1e-9)
    numpy.testing.assert_allclose(lists.distance, numpy.sort(expected, axis=1), rtol=1e-4)


@pytest.mark.parametrize("size", [1e-14, 1e14])
def test_ranked_lists_distances_of_extreme_features_are_in_their_own_unit(size):
    """Their products leave the range of float32, so they are compared at another scale."""
    random = numpy.random.default_rng(1)
    query, gallery = (size * random.normal(size=(rows, 5)) for rows in (4, 30))
    with compared(query, gallery) as comparison:
        assert comparison.scale != 1
        lists = ranked_lists(comparison, Labels.of([0] * 4, [0] * 30), 30)
    expected = numpy.sqrt(((query[:, None] - gallery[None]) ** 2).sum(-1))
    numpy.testing.assert_allclose(lists.distance, numpy.sort(expected, axis=1), rtol=1e-4)


def test_ranked_lists_longer_than_the_gallery_are_cut():
    with compared(numpy.zeros((2, 3)), numpy.ones((4, 3))) as comparison:
        lists = ranked_lists(comparison, Labels.of([1, 2], [1, 2, 1, 2]), 10)
    assert lists.gallery.tolist() == [[0, 1, 2, 3]] * 2  # all as far: in their own order
    assert lists.match.tolist() == [[True, False, True, False], [False, True, False, True]]


def test_ranked_lists_junk_by_sequence():
    labels = Labels.of(
        [1],
        [1, 1, 2],
        junk_rule="same_sequence",
        query_sequence=[5],
        gallery_sequence=[5, 6, 5],
    )
    with compared(numpy.zeros((1, 2)), numpy.ones((3, 2))) as comparison:
        lists = ranked_lists(comparison, labels, 3)
    assert lists.junk.tolist() == [[True, False, False]]
    assert [values.tolist() for values in labels.counts()] == [[1], [1]]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_expanded_queries_are_means_with_their_neighbours(distance):
    random = numpy.random.default_rng(2)
    query, gallery = random.normal(size=(6, 4)), random.normal(size=(40, 4))
    if distance == "cosine":
        query, gallery = (x / numpy.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
    order = numpy.argsort(((query[:, None] - gallery[None]) ** 2).sum(-1), axis=1)[:, :3]
    expected = (query + gallery[order].sum(1)) / 4
    with compared(query * 3, gallery * 3, distance=distance) as comparison:
        found = expanded(comparison, 3).query.numpy()
    scale = 1 if distance == "cosine" else 3
    numpy.testing.assert_allclose(found, expected * scale, rtol=1e-5, atol=1e-6)


def test_evaluate_expansion_helps_queries_among_their_neighbours():
    """A noisy query near its cluster: averaged with what it finds, it moves to the middle."""
    random = numpy.random.default_rng(3)
    centres = random.normal(size=(10, 8))
    gallery = numpy.repeat(centres, 8, axis=0) + 0.3 * random.normal(size=(80, 8))
    query = centres + 0.9 * random.normal(size=(10, 8))
    labels = (numpy.arange(10), numpy.repeat(numpy.arange(10), 8))
    plain = evaluate(query, gallery, *labels)
    assert evaluate(query, gallery, *labels, query_expansion=3)["map"] > plain["map"]
