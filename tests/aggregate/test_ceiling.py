"""The noise ceiling, against simulated studies whose true figures are known."""

from __future__ import annotations

import math

import numpy
import polars
import pytest

from xferpipe.aggregate import agreement as stats
from xferpipe.aggregate.agreement import STATISTICS
from xferpipe.aggregate.ceiling import from_pearson, noise_ceiling, to_pearson


def study(generator, models: int, seeds: int, noise: float):
    """Return runs of one place and the true figures of its models."""
    truth = generator.standard_normal(models)
    figures = truth[:, None] + noise * generator.standard_normal((models, seeds))
    names = numpy.repeat([f"m{i:02}" for i in range(models)], seeds)
    runs = polars.DataFrame(
        {"model": names, "seed": list(range(seeds)) * models, "value": figures.ravel()}
    )
    return runs, truth, figures.mean(axis=1)


def reached(truth, means, name: str) -> float:
    return float(getattr(stats, name)(truth[None], means[None])[0])


def test_ceiling_of_eight_models_and_two_seeds_is_what_a_perfect_score_reaches() -> None:
    """Spread = noise: a run agrees with another by 0.44, a perfect score with the mean by 0.75."""
    generator = numpy.random.default_rng(0)
    found, perfect = [], []
    for _ in range(400):
        runs, truth, means = study(generator, 8, 2, 1.0)
        found.append(noise_ceiling(runs, 0.95)["reliability"])
        perfect.append(reached(truth, means, "spearman"))
    assert numpy.mean(found) == pytest.approx(0.44, abs=0.04)
    assert numpy.mean(perfect) == pytest.approx(0.75, abs=0.03)
    r = to_pearson("spearman", float(numpy.mean(found)), 8)
    ceiling = from_pearson("spearman", math.sqrt(2 * r / (1 + r)), 8)
    assert ceiling == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_ceiling_and_its_interval_are_about_what_a_perfect_score_reaches(seeds) -> None:
    generator = numpy.random.default_rng(seeds)
    rows, perfect = [], {name: [] for name in STATISTICS}
    for _ in range(150):
        runs, truth, means = study(generator, 20, seeds, 0.6)
        rows.append(noise_ceiling(runs, 0.9))
        for name in STATISTICS:
            perfect[name].append(reached(truth, means, name))
    for name in STATISTICS:
        truth = numpy.mean(perfect[name])
        shown = [row for row in rows if row[name] is not None]
        assert len(shown) > 100
        assert numpy.median([row[name] for row in shown]) == pytest.approx(truth, abs=0.03), name
        covered = [row[f"{name}_low"] <= truth <= row[f"{name}_high"] for row in shown]
        # Of 150 at 90 %: deviation 0.025; four models of the weighted tau's form are approximate.
        assert numpy.mean(covered) >= 0.8, name
    beaten = [p > row["spearman"] for p, row in zip(perfect["spearman"], rows) if row["spearman"]]
    # The agreement of one run with another was beaten in 86 to 99 %.
    assert 0.25 < numpy.mean(beaten) < 0.7


def test_ceiling_of_runs_that_are_all_noise_is_not_estimable() -> None:
    generator = numpy.random.default_rng(0)
    rows = [noise_ceiling(study(generator, 8, 2, 50.0)[0], 0.95) for _ in range(60)]
    unknown = [row for row in rows if row["spearman"] is None]
    assert len(unknown) >= 55
    assert all("not estimable" in row["reason"] for row in unknown)


def test_ceiling_of_four_models_is_not_estimable() -> None:
    row = noise_ceiling(study(numpy.random.default_rng(0), 4, 3, 0.01)[0], 0.95)
    assert row.get("spearman") is None
    assert "not estimable: 4 models" in row["reason"]


def test_ceiling_without_repeated_runs_has_no_row() -> None:
    assert noise_ceiling(study(numpy.random.default_rng(0), 8, 1, 1.0)[0], 0.95) is None


def test_ceiling_takes_models_whose_seeds_have_other_numbers() -> None:
    runs, _, _ = study(numpy.random.default_rng(0), 12, 2, 0.2)
    other = runs.with_columns(seed=polars.int_range(polars.len()))
    assert noise_ceiling(other, 0.95) == noise_ceiling(runs, 0.95)


@pytest.mark.parametrize("name", ["spearman", "kendall", "pearson"])
@pytest.mark.parametrize("r", [0.3, 0.8])
def test_mean_of_a_statistic_over_normal_figures_is_its_closed_form(name, r) -> None:
    generator = numpy.random.default_rng(1)
    x, noise = generator.standard_normal((2, 20_000, 7))
    values = getattr(stats, name)(x, r * x + math.sqrt(1 - r * r) * noise)
    # Pearson's own small bias is r (1 - r^2) / (2 n).
    expected = from_pearson(name, r, 7)
    assert values.mean() == pytest.approx(expected, abs=0.03 if name == "pearson" else 0.01)
    assert to_pearson(name, expected, 7) == pytest.approx(r)
