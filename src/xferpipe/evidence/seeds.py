"""The noise of seeds: how far runs of one pair (model, recipe) lie apart.

It is not one number. A head on frozen features hardly moves, a whole network may collapse, and of
pairs with one recipe some do more than others. A pair's variance is therefore drawn from its own
runs to what is usual of its recipe on this target, as if `FREEDOM` further differences between runs
had shown that.

Source:
    Moderated variances: Smyth, Statistical Applications in Genetics and Molecular Biology 2004.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy
from scipy.special import digamma, gammaln

from xferpipe.evidence.shrinkage import beside_mean, shrunk

#: Degrees of freedom of what is usual; those of the shipped history, by the method of the source.
FREEDOM = 4.0
#: Degrees of freedom taken off: a normal distribution stands for Student's with its heavier tails.
_TAILS = 1.0
#: Variance of the logarithm of a recipe's variance where earlier targets do not know the recipe.
_RECIPES = 1.5**2
#: Variance of the logarithm of a variance of two degrees of freedom about its recipe's.
_PAIR = 2.4


class Repeats(NamedTuple):
    """What repeated runs of P pairs say of the noise of seeds.

    Attributes:
        variance: Of the runs of each pair, as angles, float64 (P); 0 where there are none.
        freedom: Degrees of freedom, runs less one, float64 (P).
        images: Of `variance` what the images put there that runs of a pair do not share, (P).
        step: Smallest variance that the steps of the figures let appear, float64 (P).
    """

    variance: numpy.ndarray
    freedom: numpy.ndarray
    images: numpy.ndarray
    step: numpy.ndarray

    @classmethod
    def of(
        cls,
        pairs: int,
        pair: numpy.ndarray,
        value: numpy.ndarray,
        image_noise: numpy.ndarray,
        images: numpy.ndarray,
    ) -> Repeats:
        """Collect the repeated runs.

        Args:
            pairs: How many pairs there are.
            pair, value, image_noise, images: As of `Observations`, of the runs that finished.
        """
        found = cls(*numpy.zeros((4, pairs)))
        for one in numpy.unique(pair):
            runs = numpy.flatnonzero(pair == one)
            k = len(runs)
            if k < 2:
                continue
            noise = image_noise[numpy.ix_(runs, runs)]
            found.variance[one] = value[runs].var(ddof=1)
            found.freedom[one] = k - 1
            found.images[one] = (k * noise.trace() - noise.sum()) / (k * (k - 1))
            found.step[one] = step_variance(images[runs].mean())
        return found


def step_variance(images: float) -> float:
    """Return the variance, as an angle, that the steps of a share of so many images hide."""
    return 1 / (3 * images**2)


def typical(variances: Sequence[float], freedom: Sequence[float], least: float) -> float:
    """Return what is usual of some sample variances: their geometric mean, without its bias.

    Args:
        variances: Of single pairs.
        freedom: Their degrees of freedom.
        least: Smallest variance that counts.
    """
    half = numpy.array(freedom) / 2
    logs = numpy.log(numpy.maximum(variances, least)) - digamma(half) + numpy.log(half)
    return float(numpy.exp(logs.mean()))


def recipe_factors(
    recipes: Sequence[str], earlier: Sequence[dict[str, float]], own: dict[str, tuple[float, int]]
) -> numpy.ndarray:
    """Return the usual variance of each recipe, as a multiple of that of all, float64 (r).

    Logarithms are averaged: of earlier targets, and of this one, weighted by what they are worth.

    Args:
        recipes: Names.
        earlier: Of each earlier target the usual standard deviation of seeds of each recipe.
        own: Of this target the usual variance of recipes, and how many pairs say so.
    """
    here = beside_mean({name: float(numpy.log(value)) for name, (value, _) in own.items()})
    before = [
        beside_mean({name: 2 * float(numpy.log(value)) for name, value in target.items()})
        for target in earlier
    ]
    found = []
    for name in recipes:
        logs = [target[name] for target in before if name in target]
        mean, variance = 0.0, _RECIPES
        if logs:
            mean = shrunk(logs)
            spread = numpy.var(logs, ddof=1) if len(logs) > 2 else _RECIPES
            variance = float(spread) * (1 + 1 / len(logs)) + 0.1
        if name in here and len(here) > 1:
            noise = _PAIR / own[name][1]
            mean += variance / (variance + noise) * (here[name] - mean)
        found.append(numpy.exp(mean))
    return numpy.array(found)


def moderated(seeds: float, factor: numpy.ndarray, repeats: Repeats) -> numpy.ndarray:
    """Return the variance of one run about its pair, float64 (P).

    Args:
        seeds: Usual standard deviation on the target, as an angle.
        factor: Multiple of the variance that is usual of each pair's recipe, float64 (P).
        repeats: What repeated runs say.
    """
    usual = seeds**2 * factor + repeats.images
    total = FREEDOM * usual + repeats.freedom * repeats.variance
    return numpy.maximum(total / (FREEDOM + repeats.freedom - _TAILS) - repeats.images, 1e-9)


def log_correction(seeds: float, factor: numpy.ndarray, repeats: Repeats) -> float:
    """Return what a normal likelihood with the moderated variances leaves out.

    A pair's variance was taken from its own runs. Their likelihood, with the variance integrated
    out, takes the place of that of the value taken.

    Args:
        seeds, factor, repeats: As of `moderated`.
    """
    some = repeats.freedom > 0
    d, variance = repeats.freedom[some], repeats.variance[some]
    images = repeats.images[some]
    usual = seeds**2 * factor[some] + images
    taken = moderated(seeds, factor, repeats)[some] + images
    plugged = -0.5 * d * (numpy.log(taken) + variance / taken)
    whole = (
        gammaln((FREEDOM + d) / 2)
        - gammaln(FREEDOM / 2)
        + 0.5 * FREEDOM * numpy.log(FREEDOM * usual)
        - 0.5 * (FREEDOM + d) * numpy.log(FREEDOM * usual + d * variance)
    )
    return float((whole - plugged).sum())
