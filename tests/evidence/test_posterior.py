"""The posterior against references of another form, and against studies whose truth is known."""

import importlib

import numpy
import polars
import pytest
from simulated import NEW, Score, Setting, generate

from xferpipe.evidence import posterior as posterior_function
from xferpipe.evidence.observations import observe
from xferpipe.records import empty

module = importlib.import_module("xferpipe.evidence.posterior")
NOTHING = {"scores": empty("scores"), "zoo": empty("zoo"), "history": empty("history")}


def studies(setting: Setting, count: int, seed: int = 0):
    for study in generate(setting, count, seed):
        yield (
            *(frame.filter(polars.col("target") == NEW).drop("target") for frame in study[:2]),
            study.truth.filter(polars.col("target") == NEW),
        )


def test_posterior_of_one_grid_point_equals_the_information_form(monkeypatch) -> None:
    """Bayes in precisions, with the prior's covariance inverted: no line of the code is shared."""
    monkeypatch.setattr(module, "_SPREADS", (0.1,))
    monkeypatch.setattr(module, "_SPREAD_WEIGHTS", (1.0,))
    monkeypatch.setattr(module, "_SEEDS", (0.05,))
    monkeypatch.setattr(module, "_INTERACTIONS", (0.4,))
    ((runs, _, truth),) = studies(Setting(models=4, recipes=2, interaction_spread=0.01), 1)
    held = module.belief(runs, NOTHING["scores"], NOTHING["zoo"], [], truth)
    seen = observe(runs, truth)
    model = numpy.repeat(numpy.arange(4), 2)
    recipe = numpy.tile(numpy.arange(2), 4)
    prior = 1.0 + 0.01 * (
        (model[:, None] == model) * 1.0 + (recipe[:, None] == recipe) * 1.0 + 0.16 * numpy.eye(8)
    )
    noise = seen.image_noise + numpy.diag(held.seed_variance[seen.pair] + 1e-9)
    taken = numpy.eye(8)[seen.pair]
    precision = numpy.linalg.inv(prior) + taken.T @ numpy.linalg.inv(noise) @ taken
    weighted = taken.T @ numpy.linalg.inv(noise) @ seen.value
    weighted += numpy.linalg.inv(prior) @ numpy.full(8, numpy.pi / 2)
    covariance = numpy.linalg.inv(precision)
    assert held.covariance == pytest.approx(covariance, abs=1e-8)
    assert held.mean == pytest.approx(covariance @ weighted, abs=1e-7)


def test_every_argument_may_be_empty() -> None:
    candidates = polars.DataFrame({"model": ["a", "b"], "recipe": ["r", "r"]})
    runs = empty("finetunes").select(
        "model", "recipe", "seed", validation="validation_accuracy", seconds="seconds"
    )
    found = posterior_function(runs, **NOTHING, candidates=candidates)
    assert found["probability_best"].sum() == pytest.approx(1)
    assert found["probability_best"].to_list() == pytest.approx([0.5, 0.5], abs=0.05)
    assert (found["high"] - found["low"]).min() > 0.7
    assert found["runs"].to_list() == [0, 0]
    assert posterior_function(runs, **NOTHING).is_empty()


@pytest.mark.parametrize("figure", [80.0, -0.1, float("nan")])
def test_figure_that_is_no_fraction_is_refused(figure: float) -> None:
    runs = polars.DataFrame(
        {"model": ["a", "b"], "recipe": "r", "seed": 0, "validation": [0.5, figure]}
    )
    with pytest.raises(ValueError, match=r"b with r has the validation figure .*a fraction"):
        posterior_function(runs, **NOTHING)


def test_two_models_with_equal_outcomes_are_a_tie() -> None:
    outcomes = [1.0] * 80 + [0.0] * 20
    runs = polars.DataFrame(
        [
            {"model": name, "recipe": "r", "seed": seed, "validation": 0.8, "outcomes": outcomes}
            for name in "ab"
            for seed in range(2)
        ]
    )
    found = posterior_function(runs, **NOTHING)
    assert found["probability_best"].to_list() == pytest.approx([0.5, 0.5], abs=0.03)


def test_draws_that_tie_share_the_first_place() -> None:
    """Figures clipped at 1 or 0 are equal; by hand, the third pair outside of the comparison."""
    draws = numpy.array([[1.0, 1.0, 0.2], [0.3, 0.3, 0.3], [0.1, 0.5, 0.2], [0.1, 0.2, 0.3]])
    compared = numpy.array([True, True, False])
    found = module.standing(draws, compared, indifference=0.05, level=0.9)
    best = [(0.5 + 0.5) / 4, (0.5 + 0.5 + 1 + 1) / 4, (1 / 3 + 1) / 4]
    assert found["probability_best"].to_list() == pytest.approx(best)
    assert found["probability_near_best"].to_list() == pytest.approx([0.5, 1.0, 0.5])
    regret = [(0.4 + 0.1) / 4, 0.0, (0.8 + 0.3) / 4]
    assert found["expected_regret"].to_list() == pytest.approx(regret)


def test_few_images_make_the_interval_as_wide_as_they_are() -> None:
    """48 images: their standard error is 0.06, whatever two seeds agree on."""
    outcomes = [1.0] * 37 + [0.0] * 11
    runs = polars.DataFrame(
        [
            {"model": "a", "recipe": "r", "seed": seed, "validation": 37 / 48, "outcomes": outcomes}
            for seed in range(3)
        ]
    )
    (found,) = posterior_function(runs, **NOTHING, level=0.68).rows(named=True)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(0.06, abs=0.012)


def test_draws_and_order_change_nothing_that_matters() -> None:
    ((runs, scores, truth),) = studies(Setting(), 1)
    arguments = {"scores": scores, "zoo": NOTHING["zoo"], "history": NOTHING["history"]}
    first = posterior_function(runs, **arguments, candidates=truth, seed=1)
    assert first.equals(posterior_function(runs, **arguments, candidates=truth, seed=1))
    turned = posterior_function(runs.reverse(), **arguments, candidates=truth, seed=2)
    assert turned["mean"].to_list() == pytest.approx(first["mean"].to_list(), abs=0.004)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(model_spread=0.0, scores=(Score(correlation=0),)),
        Setting(scores=(Score(correlation=0),)),
        Setting(model_spread=0.01, validation_images=1000, scores=(Score(correlation=0),)),
        Setting(recipes=3, models=6, recipe_spread=0.02, interaction_spread=0.01),
    ],
    ids=["equal", "useless score", "many images", "recipes"],
)
def test_intervals_cover_and_names_are_right(setting: Setting) -> None:
    """Bounds of 100 studies' chance around 90 % coverage, and the promise of a name."""
    covered, chosen, named = [], [], []
    for i, (runs, scores, truth) in enumerate(studies(setting, 100, seed=7)):
        arguments = {"scores": scores, "zoo": NOTHING["zoo"], "history": NOTHING["history"]}
        found = posterior_function(runs, **arguments, candidates=truth, draws=1000, seed=i)
        true = truth["accuracy"].to_numpy()
        inside = (found["low"].to_numpy() <= true) & (true <= found["high"].to_numpy())
        covered.append(inside.mean())
        pick = int(found["mean"].arg_max())
        chosen.append(inside[pick])
        if found["probability_best"][pick] >= 0.9:
            named.append(true[pick] >= true.max() - 0.01)
    assert numpy.mean(covered) > 0.80
    assert numpy.mean(chosen) > 0.80
    if setting.model_spread == 0:
        assert len(named) <= 5
    assert sum(not right for right in named) <= 2
