"""Figures as angles, and the noise of images that runs share."""

import numpy
import polars
import pytest
from simulated import NEW, Setting, generate

from xferpipe.evidence.observations import UNKNOWN_IMAGES, angle, fraction, observe


def rows(*lines: dict) -> polars.DataFrame:
    base = {"recipe": "r", "seed": 0, "status": "finished", "images": None, "seconds": 1.0}
    return polars.DataFrame([base | line for line in lines], infer_schema_length=None)


def pairs(*models: str) -> polars.DataFrame:
    return polars.DataFrame({"model": models, "recipe": ["r"] * len(models)})


def test_angle_and_fraction_undo_each_other() -> None:
    shares = numpy.linspace(0, 1, 11)
    assert fraction(angle(shares, numpy.full(11, 1e9))) == pytest.approx(shares, abs=1e-6)
    assert fraction(numpy.array([-1.0, 4.0])).tolist() == pytest.approx([0, 1])


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_angle_variance_is_one_over_images_whatever_the_share(share: float) -> None:
    images = 100
    drawn = numpy.random.default_rng(0).binomial(images, share, 20_000) / images
    assert angle(drawn, numpy.full(20_000, images)).var() == pytest.approx(1 / images, rel=0.05)


def test_runs_without_a_figure_are_left_out_and_diverged_ones_count_as_poor() -> None:
    runs = rows(
        {"model": "a", "validation": 0.8, "images": 50},
        {"model": "b", "validation": None},
        {"model": "b", "validation": None, "status": "diverged"},
        {"model": "elsewhere", "validation": 0.9},
    )
    seen = observe(runs, pairs("a", "b"))
    assert seen.pair.tolist() == [0, 1]
    assert fraction(seen.value)[1] < 0.15
    assert seen.image_noise[1, 1] > 0.05 > seen.image_noise[0, 0]


def test_image_noise_without_outcomes_follows_the_counts_and_is_not_shared() -> None:
    runs = rows({"model": "a", "validation": 0.8, "images": 50}, {"model": "b", "validation": 0.8})
    noise = observe(runs, pairs("a", "b")).image_noise
    assert numpy.diag(noise) == pytest.approx([1 / 50, 1 / UNKNOWN_IMAGES])
    assert noise[0, 1] == 0


def test_image_noise_with_outcomes_has_the_correlations_of_the_kinds() -> None:
    setting = Setting(
        models=6, recipes=2, seeds=3, validation_images=20_000, seed_noise=0.0, model_spread=0.0
    )
    (study,) = generate(setting, 1)
    runs = study.runs.filter(polars.col("target") == NEW)
    seen = observe(runs, study.truth)
    correlation = seen.image_noise * 20_000
    assert numpy.diag(correlation) == pytest.approx(numpy.ones(36))
    keys = runs.select("model", "recipe").rows()
    for i, j, expected in ((0, 1, 0.6), (0, 3, 0.6), (0, 35, 0.4)):
        assert (keys[i] == keys[j]) == (j == 1)
        assert correlation[i, j] == pytest.approx(expected, abs=0.1)
    assert numpy.linalg.eigvalsh(seen.image_noise).min() > 0


def test_graded_outcomes_vary_less_than_right_and_wrong() -> None:
    graded = numpy.random.default_rng(1).uniform(0.4, 0.6, (2, 300))
    runs = rows(
        *(
            {"model": name, "validation": float(one.mean()), "outcomes": one.tolist()}
            for name, one in zip("ab", graded, strict=True)
        )
    )
    noise = observe(runs, pairs("a", "b")).image_noise
    assert noise[0, 0] == pytest.approx(graded.var() / 0.25 / 300, rel=0.1)


@pytest.mark.parametrize(("identities", "alike"), [(6, 0.0), (6, 1.0), (30, 1.0)])
def test_noise_of_queries_that_come_in_identities_covers_what_redraws_do(
    identities: int, alike: float
) -> None:
    """Queries of an identity share a part of their precision: identities are what is redrawn."""
    generator = numpy.random.default_rng(3)
    each, figures, variances = 8, [], []
    for _ in range(400):
        centre = generator.beta(3, 2, identities)[:, None]
        own = generator.beta(3, 2, (identities, each))
        outcomes = (alike * centre + (1 - alike) * own).ravel()
        groups = numpy.repeat(numpy.arange(identities), each).tolist()
        runs = [{"validation": outcomes.mean(), "outcomes": outcomes.tolist(), "groups": groups}]
        held = observe(rows(*({"model": "a"} | run for run in runs)), pairs("a"))
        figures.append(2 * numpy.arcsin(numpy.sqrt(outcomes.mean())))
        variances.append(held.image_noise[0, 0])
    spread, stated = numpy.var(figures), float(numpy.mean(variances))
    # Never less than it is; few identities make it more: the prior is one that agrees within.
    assert 0.95 * spread < stated < (2.2 if alike else 10) * spread


def test_few_groups_are_held_to_agree_within_and_between_runs_to_be_unlike() -> None:
    outcomes = [0.2, 0.2, 0.8, 0.8]
    runs = [{"validation": 0.5, "outcomes": outcomes, "groups": [7, 7, 9, 9]}] * 2
    noise = observe(rows(*({"model": "a"} | run for run in runs)), pairs("a")).image_noise
    # Deviations of the groups -0.6 and 0.6: 0.72 * 2 / 1 / 16 = 0.09 of 0.25; prior 1 of 1 / 2.
    assert noise[0, 0] == pytest.approx((1 / 2 + 0.09 / 0.25) / 2)
    assert noise[0, 1] == pytest.approx(noise[0, 0] / 2)
