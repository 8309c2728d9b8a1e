"""The simulated studies have the means, noise and correlations that were asked for."""

import numpy
import polars
import pytest
from simulated import NEW, Score, Setting, generate

from xferpipe.records.schemas import TABLES


def outcomes_of(study, column="outcomes"):
    """Outcomes of the runs, float (runs, images)."""
    return numpy.array(study.runs[column].to_list())


def test_study_has_a_row_for_every_run_score_and_pair():
    setting = Setting(models=3, recipes=2, seeds=4, validation_images=7, test_images=5)
    (study,) = generate(setting, 1)
    keys = study.runs.select("model", "recipe", "seed").unique()
    assert len(study.runs) == len(keys) == 24
    assert outcomes_of(study).shape == (24, 7)
    assert outcomes_of(study, "test_outcomes").shape == (24, 5)
    assert study.runs["outcomes"].dtype == polars.List(polars.Float64)
    numpy.testing.assert_allclose(study.runs["validation"], outcomes_of(study).mean(axis=1))
    numpy.testing.assert_allclose(study.runs["test"], outcomes_of(study, "test_outcomes").mean(1))
    assert (study.runs["seconds"] > 0).all()
    assert len(study.scores) == 3
    assert set(study.scores.columns) <= {column.name for column in TABLES["scores"]}
    assert len(study.truth) == 6


def test_study_is_the_same_whatever_the_number_of_studies():
    first = [frame for study in generate(Setting(), 3, seed=1) for frame in study]
    again = [frame for study in generate(Setting(), 2, seed=1) for frame in study]
    assert all(a.equals(b) for a, b in zip(first, again, strict=False))
    assert not first[0].equals(next(generate(Setting(), 1, seed=2)).runs)


def test_means_are_the_truth_and_noise_is_that_of_seeds_and_images():
    setting = Setting(models=40, seeds=10, model_spread=0.03, seed_noise=0.02, test_images=50)
    gaps, accuracy, within = [], [], []
    for study in generate(setting, 100):
        runs = study.runs.join(study.truth, on=["model", "recipe"])
        gaps.append((runs["validation"] - runs["accuracy"]).mean())
        accuracy.append(study.truth["accuracy"].to_numpy())
        within.append(
            runs.group_by("model").agg(polars.col("validation").var())["validation"].mean()
        )
    assert abs(numpy.mean(gaps)) < 4 * numpy.std(gaps) / 10
    assert numpy.mean(accuracy) == pytest.approx(0.8, abs=4 * 0.03 / numpy.sqrt(4000))
    assert numpy.std(accuracy) == pytest.approx(0.03, rel=0.05)
    # Seeds of one model: seed noise, and image noise less what they share. Two runs that judge by
    # one difficulty have the covariance min (1 - max) of their accuracies, whose mean distance
    # is 2 / sqrt(pi) of the seed noise.
    shared = 0.6 * (0.8 * 0.2 - 0.02 / numpy.sqrt(numpy.pi))
    expected = 0.02**2 + (0.8 * 0.2 - shared) / 179
    assert numpy.mean(within) == pytest.approx(expected, rel=0.05)


def test_spreads_of_recipes_and_interactions_are_those_asked():
    setting = Setting(
        models=30,
        recipes=20,
        model_spread=0.01,
        recipe_spread=0.02,
        interaction_spread=0.015,
        seeds=1,
        validation_images=2,
        test_images=2,
    )
    found = []
    for study in generate(setting, 100):
        table = study.truth["accuracy"].to_numpy().reshape(30, 20)
        model, recipe = table.mean(axis=1), table.mean(axis=0)
        both = table - model[:, None] - recipe + table.mean()
        interaction = (both**2).sum() / (29 * 19)
        found.append(
            (
                model.var(ddof=1) - interaction / 20,
                recipe.var(ddof=1) - interaction / 30,
                interaction,
            )
        )
    expected = (0.01**2, 0.02**2, 0.015**2)
    numpy.testing.assert_allclose(numpy.mean(found, axis=0), expected, rtol=0.12)


@pytest.mark.parametrize(("between", "within"), [(0.0, 0.0), (0.4, 0.6), (0.3, 0.3), (1.0, 1.0)])
def test_outcomes_correlate_over_images_as_asked(between, within):
    setting = Setting(
        models=4,
        seeds=2,
        model_spread=0,
        seed_noise=0,
        validation_images=4000,
        image_correlation=between,
        model_image_correlation=within,
    )
    same, other, splits = [], [], []
    for study in generate(setting, 10):
        table = numpy.corrcoef(outcomes_of(study))
        model = numpy.arange(8) // 2
        off = ~numpy.eye(8, dtype=bool)
        same.append(table[(model[:, None] == model) & off].mean())
        other.append(table[model[:, None] != model].mean())
        test = outcomes_of(study, "test_outcomes")
        splits.append(numpy.corrcoef(test[0], outcomes_of(study)[0, : test.shape[1]])[0, 1])
    assert numpy.mean(same) == pytest.approx(within, abs=0.02)
    assert numpy.mean(other) == pytest.approx(between, abs=0.02)
    assert numpy.mean(splits) == pytest.approx(0, abs=4 / numpy.sqrt(1790))


@pytest.mark.parametrize("rho", [-0.8, 0.0, 0.5, 0.95])
def test_scores_correlate_with_the_truth_as_asked(rho):
    setting = Setting(
        models=50,
        seeds=1,
        validation_images=2,
        test_images=2,
        scores=(Score("lfc", rho, 0.3), Score("knn", 0.0, 0.0)),
    )
    truth, values, width = [], [], []
    for study in generate(setting, 60):
        table = study.scores.pivot("method", index="model", values="value")
        values.append(table.select("lfc", "knn").to_numpy())
        truth.append(study.truth["accuracy"].to_numpy())
        width.append(
            study.scores.filter(method="lfc").select(
                (polars.col("high") - polars.col("low")) / 3.92
            )
        )
    values, truth = numpy.concatenate(values), numpy.concatenate(truth)
    # Probe noise of variance 0.09 on a score of variance 1 weakens the correlation.
    found = numpy.corrcoef(truth, values.T)[0, 1:]
    numpy.testing.assert_allclose(found, [rho / numpy.sqrt(1.09), 0], atol=4 / numpy.sqrt(3000))
    assert values[:, 0].std() == pytest.approx(numpy.sqrt(1.09), rel=0.05)
    assert polars.concat(width).to_series().to_numpy() == pytest.approx(0.3)


def test_earlier_targets_share_effects_and_have_a_correlation_of_their_own():
    setting = Setting(
        models=50,
        seeds=1,
        validation_images=2,
        test_images=2,
        earlier_targets=2,
        memory=0.7,
        scores=(Score("lfc", -0.5, 0.0, earlier_correlation=0.9),),
    )
    accuracy, values = [], []
    for study in generate(setting, 60):
        assert study.runs["target"].unique(maintain_order=True).to_list() == [
            "earlier0",
            "earlier1",
            NEW,
        ]
        accuracy.append(study.truth["accuracy"].to_numpy().reshape(3, 50))
        values.append(study.scores["value"].to_numpy().reshape(3, 50))
    table = numpy.corrcoef(numpy.hstack(accuracy), numpy.hstack(values))
    bound = 4 / numpy.sqrt(3000)
    numpy.testing.assert_allclose(table[[0, 0, 1], [1, 2, 2]], 0.7, atol=bound)
    numpy.testing.assert_allclose(table[[0, 1, 2], [3, 4, 5]], [0.9, 0.9, -0.5], atol=bound)


def test_given_effects_are_the_truth_and_scores_follow_them():
    setting = Setting(models=3, effects=(0.023, 0.0, -0.05), scores=(Score("lfc", 1.0, 0.0),))
    (study,) = generate(setting, 1)
    numpy.testing.assert_allclose(study.truth["accuracy"], [0.823, 0.8, 0.75])
    assert study.scores["value"].is_sorted(descending=True)


def test_diverged_runs_have_no_figures_and_the_share_asked():
    runs = polars.concat(study.runs for study in generate(Setting(diverged=0.2), 100))
    lost = runs.filter(polars.col("status") == "diverged")
    assert len(lost) / len(runs) == pytest.approx(0.2, abs=4 * numpy.sqrt(0.16 / len(runs)))
    for name in ("validation", "images", "outcomes", "test", "test_outcomes"):
        assert lost[name].null_count() == len(lost)
        assert runs.filter(status="finished")[name].null_count() == 0
    assert lost["seconds"].null_count() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_correlation": 0.7, "model_image_correlation": 0.5}, "expected 0 <= first"),
        ({"effects": (0.0, 0.1)}, "2 effects for 8 models"),
        ({"accuracy": 0.99, "model_spread": 0.1}, "leaves 0 to 1"),
    ],
)
def test_setting_that_cannot_be_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Setting(**options)
