"""Held-out accuracies: folds without a handicap, and intervals that hold the truth."""

import numpy
import pytest
from coverage import CLASSIFIERS, SETTINGS, Probes, intervals, truth
from scipy.stats import binomtest, norm

from xferpipe import scores
from xferpipe.scores import Undefined
from xferpipe.scores.held_out import DESIGN_EFFECT, accuracy_interval, folds_of


def test_folds_of_a_smaller_class_are_spread_over_those_of_the_largest():
    """Two images beside four: in the middle of either half."""
    assert folds_of(numpy.array([0, 1, 0, 0, 1, 0])).tolist() == [0, 1, 1, 2, 3, 3]


def test_folds_of_equal_classes_hold_one_image_of_each():
    labels = numpy.random.default_rng(0).permutation(numpy.repeat(numpy.arange(7), 5))
    folds = folds_of(labels)
    table = numpy.zeros((5, 7), dtype=int)
    numpy.add.at(table, (folds, labels), 1)
    assert (table == 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_folds_of_any_classes_hold_at_most_one_image_of_each(seed):
    generator = numpy.random.default_rng(seed)
    counts = generator.integers(1, 30, size=generator.integers(2, 9))
    counts[0] = max(counts[0], 2)
    labels = generator.permutation(numpy.repeat(numpy.arange(len(counts)), counts))
    folds = folds_of(labels)
    assert folds.min() >= 0
    assert folds.max() == counts.max() - 1
    for label, count in enumerate(counts):
        own = numpy.sort(folds[labels == label])
        assert len(numpy.unique(own)) == count
        # Spread: gaps between the folds of a class differ by one at most.
        assert numpy.ptp(numpy.diff(own)) <= 1 if count > 2 else True


@pytest.mark.parametrize("method", [scores.knn, scores.linear_probe])
def test_accuracy_with_one_image_in_every_class_is_undefined(method):
    with pytest.raises(Undefined, match="every class has one image"):
        method(numpy.eye(4), numpy.arange(4))


@pytest.mark.parametrize("right", [0, 1, 70, 139, 140])
def test_interval_without_a_learning_curve_is_wilsons_of_fewer_outcomes(right):
    outcomes = numpy.arange(140) < right
    folds = numpy.repeat(numpy.arange(20), 7)
    found = accuracy_interval(outcomes, outcomes, folds, 0.9)
    assert pytest.approx(100) == 140 / DESIGN_EFFECT
    if right % 7 == 0:
        expected = binomtest(right * 100 // 140, 100).proportion_ci(0.9, "wilson")
        numpy.testing.assert_allclose(found, expected, atol=1e-12)
    assert 0 <= found[0] <= right / 140 <= found[1] <= 1
    assert found[1] - found[0] > 0.02


def test_interval_is_laid_around_the_accuracy_of_the_whole_probe():
    # Two classes of ten: folds leave 18 images, halves 10. On a line in 1 / images through 0.6 at
    # 10 and 0.8 at 18 lies 0.825 at 20: 9/8 of the one less 1/8 of the other. An image then counts
    # 1 (twelve), 9/8 (four) or 0 (four), of variance 0.1725 where right or wrong has 0.16.
    folds = numpy.tile(numpy.arange(10), 2)
    right, half = numpy.arange(20) < 16, numpy.arange(20) < 12
    for end in accuracy_interval(right, half, folds, 0.95):
        deviation = numpy.sqrt(end * (1 - end) * DESIGN_EFFECT * 0.1725 / 0.16 / 20)
        assert abs(0.825 - end) == pytest.approx(norm.ppf(0.975) * deviation)


def test_interval_of_two_images_a_class_has_no_curve_and_still_a_width():
    right = numpy.array([True, False, True, True])
    low, high = accuracy_interval(right, right, numpy.array([0, 1, 0, 1]), 0.95)
    assert 0 < low < 0.75 < high < 1


@pytest.mark.parametrize("method", CLASSIFIERS)
@pytest.mark.parametrize(("classes", "images"), [(5, 25), (20, 5)])
def test_accuracy_without_signal_is_chance(method, classes, images):
    generator = numpy.random.default_rng(0)
    probes = Probes(classes, images, 16, 0.0)
    values = [getattr(scores, method)(*probes.draw(generator)) for _ in range(60)]
    error = numpy.std(values, ddof=1) / numpy.sqrt(len(values))
    assert numpy.mean(values) == pytest.approx(1 / classes, abs=3.5 * error)


@pytest.mark.parametrize("method", CLASSIFIERS)
@pytest.mark.parametrize("images", [25, 5])
def test_intervals_hold_the_accuracy_of_new_probes_on_new_images(method, images):
    held = []
    for probes in SETTINGS:
        if probes.images == images:
            expected = truth(method, probes, 20)
            held += [low <= expected <= high for _, low, high in intervals(method, probes, 40)]
    # 160 intervals of 95 %: three standard errors are 5 %.
    assert 0.9 <= numpy.mean(held) < 1
