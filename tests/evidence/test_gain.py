"""What a run is worth, against simulation."""

import numpy
import pytest

from xferpipe.evidence.gain import expected_gain, observed

MEAN = numpy.array([0.5, 0.45, 0.2])
COVARIANCE = numpy.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.02], [0.0, 0.02, 0.05]])
NOISE = numpy.array([0.01, 0.02, 0.03])


def test_gain_is_that_of_simulated_runs() -> None:
    generator = numpy.random.default_rng(0)
    truth = generator.multivariate_normal(MEAN, COVARIANCE, 200_000)
    for pair in range(3):
        seen = truth[:, pair] + numpy.sqrt(NOISE[pair]) * generator.standard_normal(len(truth))
        gain = COVARIANCE[:, pair] / (COVARIANCE[pair, pair] + NOISE[pair])
        after = MEAN + (seen - MEAN[pair])[:, None] * gain
        expected = after.max(axis=1).mean() - MEAN.max()
        assert expected_gain(MEAN, COVARIANCE, NOISE)[pair] == pytest.approx(expected, abs=0.002)


def test_gain_is_none_where_nothing_is_uncertain_and_falls_with_noise() -> None:
    assert expected_gain(MEAN, 1e-12 * numpy.eye(3), NOISE) == pytest.approx(0, abs=1e-9)
    assert (
        expected_gain(MEAN, COVARIANCE, 10 * NOISE) <= expected_gain(MEAN, COVARIANCE, NOISE)
    ).all()


def test_observed_covariance_is_that_of_precisions() -> None:
    added = numpy.zeros((3, 3))
    added[1, 1] = 1 / 0.02
    expected = numpy.linalg.inv(numpy.linalg.inv(COVARIANCE) + added)
    assert observed(COVARIANCE, 1, 0.02) == pytest.approx(expected)
