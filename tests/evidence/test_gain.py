"""What a run is worth, against simulation."""

import numpy
import pytest

from xferpipe.evidence.gain import expected_gain, observed, run_gain

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


@pytest.mark.parametrize("was_run", [[True, False, False], [True, True, False]])
def test_run_gain_counts_a_pair_that_becomes_one_to_take(was_run: list[bool]) -> None:
    mean = numpy.array([0.3, 0.5, 0.45])
    mask = numpy.array(was_run)
    found = run_gain(mean, COVARIANCE, NOISE, mask)
    truth = numpy.random.default_rng(0).multivariate_normal(mean, COVARIANCE, 200_000)
    seen = truth[:, 2] + numpy.sqrt(NOISE[2]) * numpy.random.default_rng(1).standard_normal(200_000)
    gain = COVARIANCE[:, 2] / (COVARIANCE[2, 2] + NOISE[2])
    after = mean + (seen - mean[2])[:, None] * gain
    taken = mask | numpy.array([False, False, True])
    made_possible = after[:, taken].max(axis=1).mean() - mean[mask].max()
    taught = expected_gain(mean, COVARIANCE, NOISE)[2]
    assert found[2] == pytest.approx(max(made_possible, taught), abs=0.003)


def test_run_gain_before_any_run_is_over_a_pair_at_random() -> None:
    found = run_gain(MEAN, 1e-12 * numpy.eye(3), NOISE, numpy.zeros(3, dtype=bool))
    assert found == pytest.approx(numpy.maximum(MEAN - MEAN.mean(), 0), abs=1e-6)
