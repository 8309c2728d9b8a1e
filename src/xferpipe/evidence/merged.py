"""Repeated runs put together: their mean says of a pair all that they say one by one.

Runs of one pair with equal noise are exchangeable. Their mean and their differences are then
independent, and the differences know nothing of the pair: of k runs one figure is left, and a
factor of the likelihood that depends on the noise of seeds alone. Fifty models with four recipes
and three seeds are 200 figures in place of 600.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy

from xferpipe.evidence.observations import Observations


class Merged(NamedTuple):
    """Means of g groups of exchangeable runs.

    Attributes:
        pair: Index of each group's pair, int64 (g).
        value: Mean figure as an angle, float64 (g).
        image_noise: Covariance of the means over redraws of the images, float64 (g, g).
        runs: Runs of each group, float64 (g).
        scatter: Sum of their squared differences from the mean, float64 (g).
        apart: Variance of a run that the images put there and runs of the group do not share,
            float64 (g).
    """

    pair: numpy.ndarray
    value: numpy.ndarray
    image_noise: numpy.ndarray
    runs: numpy.ndarray
    scatter: numpy.ndarray
    apart: numpy.ndarray

    def seed_noise(self, variance: numpy.ndarray) -> numpy.ndarray:
        """Return what seeds put on each mean, float64 (..., g), from the pairs' own (..., P)."""
        return (variance[..., self.pair] + 1e-9) / self.runs

    def log_scatter(self, variance: numpy.ndarray) -> numpy.ndarray:
        """Return the log density of the differences within groups, but for a constant.

        Args:
            variance: Of one run about its pair, float64 (values, P).
        Returns:
            float64 (values).
        """
        several = self.runs > 1
        noise = variance[:, self.pair[several]] + 1e-9 + self.apart[several]
        freedom = self.runs[several] - 1
        return -0.5 * (freedom * numpy.log(noise) + self.scatter[several] / noise).sum(axis=1)


def merged(seen: Observations) -> Merged:
    """Put the exchangeable runs of each pair together."""
    groups = int(seen.alike.max()) + 1 if len(seen.alike) else 0
    member = (numpy.arange(groups)[:, None] == seen.alike).astype(float)
    runs = member.sum(axis=1)
    mean = member / runs[:, None]
    value = mean @ seen.value
    noise = mean @ seen.image_noise @ mean.T
    own = mean @ numpy.diag(seen.image_noise)
    # Of k runs with variance v and covariance c the mean has c + (v - c) / k.
    apart = numpy.where(runs > 1, (own - numpy.diag(noise)) * runs / numpy.maximum(runs - 1, 1), 0)
    return Merged(
        (mean @ seen.pair).round().astype(numpy.int64),
        value,
        noise,
        runs,
        member @ (seen.value - value[seen.alike]) ** 2,
        numpy.maximum(apart, 0.0),
    )
