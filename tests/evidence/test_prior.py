"""What earlier targets teach, on targets made by hand."""

import numpy
import polars
import pytest

from xferpipe.evidence import prior
from xferpipe.evidence.history import EarlierTarget

MODELS = [f"m{i}" for i in range(10)]


def earlier(correlation: float, targets: int = 8, *, sources: int | None = None, seed: int = 0):
    """Return targets on which score `s` goes with the models' figures as given."""
    generator = numpy.random.default_rng(seed)
    found = []
    for t in range(targets):
        figures = generator.standard_normal(len(MODELS))
        other = generator.standard_normal(len(MODELS))
        score = correlation * figures + numpy.sqrt(1 - correlation**2) * other
        found.append(
            EarlierTarget(
                f"t{t}",
                f"source{t % (sources or targets)}",
                {(m, "r"): 1.5 + 0.1 * f for m, f in zip(MODELS, figures, strict=True)},
                0.03,
                {"s": dict(zip(MODELS, score.tolist(), strict=True))},
            )
        )
    return found


VALUES = {"s": {f"new{i}": i - 2.5 for i in range(6)}}
NEW = list(VALUES["s"])


def test_a_score_that_knew_earlier_targets_orders_the_models_of_a_new_one() -> None:
    applies, unknown = prior.model_priors(NEW, VALUES, earlier(0.9))
    assert (numpy.diff(applies.mean) > 0).all()
    assert applies.mean[-1] - applies.mean[0] > 1.5
    assert numpy.trace(applies.covariance) < 0.6 * numpy.trace(unknown.covariance)
    assert applies.weight + unknown.weight == pytest.approx(1)
    assert 0.5 < applies.weight < 0.75


def test_a_useless_score_orders_nothing() -> None:
    applies, _ = prior.model_priors(NEW, VALUES, earlier(0.0, targets=20))
    assert numpy.ptp(applies.mean) < 0.5
    assert numpy.diag(applies.covariance) == pytest.approx(numpy.ones(6), rel=0.25)


def test_without_history_a_score_orders_nothing_and_says_so_by_its_width() -> None:
    (unknown,) = prior.model_priors(NEW, VALUES, [])
    assert (unknown.mean == 0).all()
    assert unknown.weight == 1
    # Runs may show that the score is right: models alike in it go together.
    assert unknown.covariance[0, 1] > 0 > unknown.covariance[0, 5]


def test_targets_of_one_source_teach_less_than_as_many_sources() -> None:
    (one, *_), (many, *_) = (
        prior.model_priors(NEW, VALUES, earlier(0.9, sources=sources)) for sources in (2, 8)
    )
    assert one.weight < many.weight
    assert numpy.trace(one.covariance) > numpy.trace(many.covariance)
    assert len(prior.model_priors(NEW, VALUES, earlier(0.9, sources=1))) == 1


def test_a_target_unlike_the_history_has_a_wider_prior() -> None:
    near, _ = prior.model_priors(NEW, VALUES, earlier(0.9))
    moved = {"s": {model: value + 100 for model, value in VALUES["s"].items()}}
    far, _ = prior.model_priors(NEW, moved, earlier(0.9))
    assert far.weight < near.weight / 10
    assert numpy.trace(far.covariance) > numpy.trace(near.covariance)


def test_regression_coefficients_are_those_of_generalised_least_squares() -> None:
    """One grid point against the normal equations of the stacked targets, in dense matrices."""
    targets = earlier(0.7, targets=5)
    fit = prior._Regression(["s"], targets)
    x = [prior.standardised(t.models, t.scores["s"], "s") for t in targets]
    y = [prior._unit(t.by_model) for t in targets]
    lowest, highest = [], []
    for own in (0.1, 0.4):
        for between in (0.05, 0.4):
            for residual in (0.3, 0.9):
                inverse = numpy.linalg.inv(
                    numpy.kron(numpy.eye(5), numpy.ones((10, 10)))
                    * between**2
                    * numpy.outer(numpy.concatenate(x), numpy.concatenate(x))
                    + residual**2 * numpy.eye(50)
                )
                stacked = numpy.concatenate(x)
                precision = 1 / own**2 + stacked @ inverse @ stacked
                lowest.append(stacked @ inverse @ numpy.concatenate(y) / precision)
                highest.append(lowest[-1])
    assert min(lowest) <= fit.mean[0] <= max(highest)


def test_models_that_were_good_before_are_thought_good_again() -> None:
    generator = numpy.random.default_rng(3)
    lasting = numpy.linspace(-1, 1, 10)
    targets = [
        EarlierTarget(
            f"t{t}",
            f"source{t}",
            {
                (m, "r"): 1.5 + 0.1 * (lasting[i] + 0.3 * generator.standard_normal())
                for i, m in enumerate(MODELS)
            },
            None,
        )
        for t in range(8)
    ]
    applies, _ = prior.model_priors([MODELS[0], "stranger", MODELS[-1]], {}, targets)
    assert applies.mean[0] < applies.mean[1] < applies.mean[2]


def test_standardised_scores_ignore_rounding_and_missing_values() -> None:
    constant = {"a": 3.0, "b": 3.0 + 4e-16, "c": 3.0}
    assert (prior.standardised(["a", "b", "c"], constant, "s") == 0).all()
    found = prior.standardised(["a", "b", "c"], {"a": 1.0, "b": 3.0}, "s")
    assert found == pytest.approx([-(2**-0.5), 2**-0.5, 0])
    large = prior.standardised(["a", "b"], {"a": 1e3, "b": 1e6}, "parameters")
    assert large == pytest.approx([-(2**-0.5), 2**-0.5])


def test_score_values_leave_out_what_is_no_number() -> None:
    scores = polars.DataFrame(
        {
            "model": ["a", "b", "a", "a"],
            "method": ["lfc", "lfc", "knn", "random"],
            "variant": ["", "", "k=5", ""],
            "value": [0.5, float("nan"), 0.8, 0.1],
        }
    )
    zoo = polars.DataFrame({"model": ["a"], "source_accuracy": [0.7], "parameters": [100]})
    assert prior.score_values(scores, zoo) == {
        "lfc": {"a": 0.5},
        "knn[k=5]": {"a": 0.8},
        "source_accuracy": {"a": 0.7},
        "parameters": {"a": 100.0},
    }


def test_pairs_that_were_better_on_every_earlier_source_are_expected_to_be_so_again() -> None:
    generator = numpy.random.default_rng(0)
    lasting = generator.normal(0, 1, (6, 2))
    targets = []
    for source in range(8):
        figures = {
            (f"m{i}", f"r{j}"): float(
                1.5 + 0.1 * (i - 2.5) + 0.05 * (lasting[i, j] + 0.5 * generator.standard_normal())
            )
            for i in range(6)
            for j in range(2)
        }
        targets.append(EarlierTarget(f"t{source}", f"s{source}", figures, {}))
    pairs = [(f"m{i}", f"r{j}") for i in range(6) for j in range(2)]
    found = prior.pair_prior([*pairs, ("m0", "new")], targets)
    # What is left of the lasting effects when model and recipe are taken off, in spreads of models.
    effect = lasting - lasting.mean(1, keepdims=True) - lasting.mean(0) + lasting.mean()
    assert numpy.corrcoef(found.mean[:12], effect.ravel())[0, 1] > 0.95
    assert found.left[:12].max() < 0.5
    assert (found.mean[12], found.left[12]) == (0, 1)


def test_pairs_without_lasting_effects_are_left_as_they_are() -> None:
    generator = numpy.random.default_rng(1)
    pairs = [(f"m{i}", f"r{j}") for i in range(6) for j in range(3)]
    targets = [
        EarlierTarget(
            f"t{source}", f"s{source}", dict(zip(pairs, generator.normal(1.5, 0.2, 18))), {}
        )
        for source in range(40)
    ]
    found = prior.pair_prior(pairs, targets)
    assert numpy.abs(found.mean).max() < 0.15
    assert found.left.min() > 0.9
    # One source says nothing of what lasts.
    assert prior.pair_prior(pairs, targets[:1]).left.tolist() == [1] * 18
