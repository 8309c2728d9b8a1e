import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xferpipe.minimisers.probe_images import Outcomes
from xferpipe.minimisers.readings import mean_interval, over_images, over_repeats, wilson_interval


def test_mean_interval_equals_scipys_t_interval():
    values = [0.3, 0.9, 0.4, 0.45, 0.1]
    mean, low, high = mean_interval(values, 0.9)
    expected = stats.t.interval(0.9, 4, numpy.mean(values), stats.sem(values))
    assert (low, high) == pytest.approx(expected, rel=1e-12)
    assert mean == pytest.approx(numpy.mean(values))


@given(st.integers(1, 400), st.data())
def test_wilson_interval_equals_scipys_and_holds_its_fraction(total, data):
    hits = data.draw(st.integers(0, total))
    fraction, low, high = wilson_interval(hits, total, 0.95)
    expected = stats.binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert low <= fraction <= high


def test_over_images_measures_accuracy_and_loss():
    outcomes = Outcomes(torch.tensor([True, False, True, True]), torch.arange(4).double())
    accuracy, loss = over_images("fgsm", 0.1, outcomes, confidence=0.95)
    assert (accuracy.measure, accuracy.value, accuracy.images) == ("accuracy", 0.75, 4)
    assert (loss.measure, loss.value, loss.interval) == ("loss", 1.5, "images")


def test_over_one_repeat_claims_no_interval():
    reading = over_repeats("noise", 0.1, "loss", [2.0], images=3, confidence=0.95)
    assert (reading.value, reading.low, reading.high) == (2.0, None, None)


def test_over_repeats_keeps_the_interval_of_an_accuracy_within_its_range():
    accuracy = over_repeats("mask", 0.1, "accuracy", [0.0, 0.3], images=9, confidence=0.95)
    rise = over_repeats("energy", 0.1, "error", [0.0, 0.3], images=9, confidence=0.95)
    assert (accuracy.low, accuracy.high) == (0.0, 1.0)
    assert rise.low < 0
    assert rise.high > 1
