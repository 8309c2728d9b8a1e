"""The noise of seeds: by recipe, and by pair as far as its runs say so."""

import numpy
import pytest
from scipy import stats
from simulated import NEW, Setting, generate

from xferpipe.evidence.posterior import belief
from xferpipe.evidence.seeds import (
    FREEDOM,
    Repeats,
    log_correction,
    moderated,
    recipe_factors,
    typical,
)


def repeats(variance: list[float], freedom: list[float], images: float = 0.0) -> Repeats:
    count = len(variance)
    return Repeats(
        numpy.array(variance),
        numpy.array(freedom),
        numpy.full(count, images),
        numpy.zeros(count),
    )


def test_repeated_runs_give_variance_freedom_and_the_part_of_the_images() -> None:
    pair = numpy.array([0, 2, 0, 0])
    value = numpy.array([1.0, 5.0, 1.1, 1.2])
    noise = 0.02 * numpy.full((4, 4), 0.7) + 0.02 * 0.3 * numpy.eye(4)
    found = Repeats.of(3, pair, value, noise, numpy.full(4, 50.0))
    assert found.variance == pytest.approx([0.01, 0, 0])
    assert found.freedom.tolist() == [2, 0, 0]
    assert found.images == pytest.approx([0.02 * 0.3, 0, 0])
    assert found.step == pytest.approx([1 / 7500, 0, 0])


def test_typical_variance_has_no_bias_in_its_logarithm() -> None:
    generator = numpy.random.default_rng(0)
    freedom = numpy.repeat([1.0, 2.0, 5.0], 20_000)
    drawn = 0.04 * generator.chisquare(freedom) / freedom
    assert typical(drawn, freedom, 1e-12) == pytest.approx(0.04, rel=0.02)


def test_a_pair_without_repeats_has_what_is_usual_of_its_recipe() -> None:
    found = moderated(0.1, numpy.array([1.0, 0.25]), repeats([0.0, 0.0], [0, 0]))
    # Four differences, one of them taken off for the tails.
    assert found == pytest.approx([0.01 * 4 / 3, 0.0025 * 4 / 3])


def test_a_pair_whose_runs_scatter_has_more_and_the_images_are_taken_off() -> None:
    found = moderated(0.1, numpy.ones(2), repeats([0.09, 0.01], [2, 2], images=0.004))
    # Four differences of 0.01 + 0.004 and two of its own, less what the images put there.
    expected = [(4 * 0.014 + 2 * 0.09) / 5 - 0.004, (4 * 0.014 + 2 * 0.01) / 5 - 0.004]
    assert found == pytest.approx(expected)


def test_correction_puts_the_distribution_of_a_sample_variance_in_place_of_a_plain_one() -> None:
    """Two values of the grid are weighed as by the F distribution of s^2 / usual."""
    held = repeats([0.05, 0.002], [2, 3])
    factor = numpy.ones(2)

    def whole(s: float) -> float:
        d, variance = held.freedom, held.variance
        taken = moderated(s, factor, held)
        plain = (-0.5 * d * (numpy.log(taken) + variance / taken)).sum()
        return plain + log_correction(s, factor, held)

    def expected(s: float) -> float:
        law = stats.f(held.freedom, FREEDOM, scale=s**2)
        return law.logpdf(held.variance).sum()

    assert whole(0.2) - whole(0.05) == pytest.approx(expected(0.2) - expected(0.05))


def test_factors_of_recipes_follow_earlier_targets_and_then_the_own_runs() -> None:
    earlier = [{"head": 0.02, "whole": 0.08}] * 9
    head, whole, other = recipe_factors(["head", "whole", "new"], earlier, {})
    # Logarithms +-log 4, drawn to 0 as by one more target.
    assert whole == pytest.approx(4**0.9)
    assert head == pytest.approx(4**-0.9)
    assert other == 1
    own = {"head": (0.01, 500), "whole": (0.01, 500)}
    assert recipe_factors(["head", "whole"], earlier, own) == pytest.approx([1, 1], rel=0.1)


def test_noise_of_a_recipe_does_not_spoil_that_of_another() -> None:
    """Runs of heads agree, whole networks collapse: once both were held to scatter by 0.25."""
    (study,) = generate(Setting(models=6, recipes=2, seeds=3, seed_noise=0.0), 1)
    runs = study.runs.filter(target=NEW).drop("outcomes")
    shaken = numpy.random.default_rng(1).normal(0, 0.15, runs.height)
    steady = (runs["recipe"] == "recipe0").to_numpy()
    values = numpy.clip(0.7 + numpy.where(steady, 0.0, shaken), 0, 1)
    runs = runs.with_columns(validation=values)
    held = belief(runs, study.scores.clear(), study.scores.clear(), [], study.truth)
    of_head = (study.truth["recipe"] == "recipe0").to_numpy()
    noise = numpy.sqrt(held.seed_variance)
    assert noise[of_head].max() < 0.03 < 0.1 < noise[~of_head].min()
