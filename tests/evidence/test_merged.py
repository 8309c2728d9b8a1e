"""Means of repeated runs say what the runs say one by one: the full likelihood is the reference."""

import numpy
import polars
import pytest
from scipy import stats
from simulated import Setting, generate

from xferpipe.evidence.merged import merged
from xferpipe.evidence.observations import observe
from xferpipe.evidence.posterior import _conditioned, _log_likelihoods


def mixed_runs(seed):
    """Runs of which some diverged, some are without outcomes, and some have other images."""
    setting = Setting(models=4, recipes=2, seeds=4, diverged=0.2, validation_images=90)
    (study,) = generate(setting, 1, seed)
    number = polars.int_range(polars.len())
    finished = polars.col("status") == "finished"
    runs = study.runs.with_columns(
        outcomes=polars.when(number % 5 != 0).then("outcomes"),
        images=polars.when((number % 10 == 0) & finished).then(40).otherwise("images"),
    )
    return runs, study.truth


@pytest.mark.parametrize("seed", range(4))
def test_likelihood_and_posterior_of_means_are_those_of_all_runs(seed):
    runs, pairs = mixed_runs(seed)
    seen = observe(runs, pairs)
    means = merged(seen)
    assert len(means.pair) < len(seen.pair)
    assert means.runs.sum() == len(seen.pair)
    generator = numpy.random.default_rng(seed)
    variance = generator.uniform(0.01, 0.1, (3, pairs.height)) ** 2
    root = generator.normal(size=(pairs.height, pairs.height))
    points = [
        (generator.uniform(1, 2, pairs.height), 0.2 * numpy.eye(pairs.height)),
        (generator.uniform(1, 2, pairs.height), root @ root.T / 10),
    ]
    found = _log_likelihoods(means, points, variance) + means.log_scatter(variance)
    expected = numpy.empty_like(found)
    for p, (mean, covariance) in enumerate(points):
        for s, own in enumerate(variance):
            total = covariance[numpy.ix_(seen.pair, seen.pair)] + seen.image_noise
            total = total + numpy.diag(own[seen.pair] + 1e-9)
            normal = stats.multivariate_normal(mean[seen.pair], total)
            expected[p, s] = normal.logpdf(seen.value)
            gain = numpy.linalg.solve(total, covariance[seen.pair]).T
            middle, left = _conditioned(mean, covariance, means, own)
            assert middle == pytest.approx(mean + gain @ (seen.value - mean[seen.pair]), abs=1e-9)
            assert left == pytest.approx(covariance - gain @ covariance[seen.pair], abs=1e-9)
    # But for one constant.
    assert found - found[0, 0] == pytest.approx(expected - expected[0, 0], abs=1e-6)


def test_groups_are_of_runs_whose_noise_is_alike():
    runs, pairs = mixed_runs(9)
    seen = observe(runs, pairs)
    for group in numpy.unique(seen.alike):
        (members,) = numpy.nonzero(seen.alike == group)
        assert len(set(seen.pair[members])) == 1
        others = numpy.delete(seen.image_noise, members, axis=1)
        assert numpy.ptp(others[members], axis=0) == pytest.approx(0, abs=1e-15)
        within = seen.image_noise[numpy.ix_(members, members)]
        assert numpy.ptp(numpy.diag(within)) == pytest.approx(0, abs=1e-15)
        apart = within[~numpy.eye(len(members), dtype=bool)]
        assert apart.size == 0 or numpy.ptp(apart) == pytest.approx(0, abs=1e-15)


def test_nothing_seen_merges_to_nothing():
    runs, pairs = mixed_runs(0)
    means = merged(observe(runs.clear(), pairs))
    assert len(means.value) == 0
    assert means.log_scatter(numpy.ones((2, pairs.height))).tolist() == [0, 0]
