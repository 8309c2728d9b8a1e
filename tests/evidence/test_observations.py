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
