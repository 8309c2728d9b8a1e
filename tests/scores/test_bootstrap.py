"""Bootstrap draws: which images they hold, and what interval is made of them."""

from __future__ import annotations

import numpy
import pytest

from xferpipe.scores.bootstrap import counts_of, drawn, interval
from xferpipe.scores.inputs import Inputs, Undefined


def test_interval_lays_the_middle_of_the_draws_around_the_value() -> None:
    """Of draws 0 to 100 about their mean of 50, eight in ten lie within 40 of it."""
    draws = numpy.append(numpy.arange(101.0), numpy.nan)
    assert interval(7.0, draws, 0.8) == pytest.approx((7 - 40, 7 + 40))
    assert interval(7.0, draws, 0.5) == pytest.approx((7 - 25, 7 + 25))


def test_interval_of_skewed_draws_holds_the_value() -> None:
    """Nineteen draws of 0 and one of 100: moved by their mean of 5, all but one are below."""
    assert interval(5.0, numpy.array([0.0] * 19 + [100.0]), 0.8) == (0.0, 5.0)


def test_fewer_than_ten_draws_make_no_interval() -> None:
    draws = numpy.append(numpy.arange(9.0), [numpy.nan] * 20)
    assert interval(4.0, draws, 0.9) == (None, None)
    assert interval(4.0, numpy.append(draws, 9.0), 0.9) != (None, None)


def test_draws_hold_as_many_images_of_a_class_as_it_has() -> None:
    labels = numpy.array([0, 1, 1, 2, 1, 2])
    counts = counts_of(labels, 200, seed=4)
    for label, size in ((0, 1), (1, 3), (2, 2)):
        assert (counts[:, labels == label].sum(axis=1) == size).all()
    # With replacement: the three images of class 1 are all there in 6 of 27 draws.
    assert 20 < (counts[:, labels == 1] == 1).all(axis=1).sum() < 70


def test_scores_of_a_draw_see_everything_of_its_images_alone() -> None:
    """Every input says which image it is of."""
    number = numpy.arange(6.0)
    table = numpy.stack([number, number], axis=1)
    inputs = Inputs(
        features=table,
        labels=numpy.array([0, 0, 0, 1, 1, 1]),
        source_probabilities=table,
        reference_features=table,
        gradient_grams={"g": 10 * number[:, None] + number},
        layer_grams={"l": numpy.stack([10 * number[:, None] + number] * 2)},
    )
    seen = []

    def score(
        features, labels, source_probabilities, reference_features, gradient_grams, layer_grams
    ):
        one = features[:, 0]
        grid = 10 * one[:, None] + one
        seen.append(one.astype(int).tolist())
        assert labels.tolist() == (one > 2).astype(int).tolist()
        assert source_probabilities[:, 1].tolist() == one.tolist()
        assert reference_features[:, 0].tolist() == one.tolist()
        assert (gradient_grams["g"] == grid).all()
        assert (layer_grams["l"] == grid).all()
        if one[0] == 1:
            raise Undefined("of this draw")
        return {"sum": one.sum()}

    counts = numpy.array([[2, 0, 1, 1, 1, 1], [0, 3, 0, 0, 0, 3], [1, 1, 1, 1, 1, 1]])
    found = drawn(score, None, inputs, counts)
    assert seen == [[0, 0, 2, 3, 4, 5], [1, 1, 1, 5, 5, 5], [0, 1, 2, 3, 4, 5]]
    numpy.testing.assert_equal(found, {"sum": numpy.array([14.0, numpy.nan, 15.0])})


def test_inputs_of_some_images_cost_nothing_yet() -> None:
    whole = Inputs(numpy.array([[1.0, 2.0], [2.0, 1.0], [0.0, 3.0]]), numpy.array([0, 1, 1]))
    assert whole.spectrum is not None
    part = whole.take(numpy.array([0, 2]))
    assert set(whole.costs) == {"spectrum"}
    assert part.costs == {}
    assert part.reference_features is None
