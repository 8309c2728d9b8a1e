"""Correlations with the source accuracy held fixed, against residuals of ranks."""

from __future__ import annotations

import numpy
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xferpipe.aggregate.partial import partial_correlations, partial_spearman
from xferpipe.config.study import Selection
from xferpipe.records import frame

MODELS = ("a", "b", "c", "d", "e", "f")


def residual_correlation(x, y, z):
    """Correlate what a straight line in z leaves of x and y, all as ranks."""
    x, y, z = (stats.rankdata(v) for v in (x, y, z))
    left = [v - numpy.polyval(numpy.polyfit(z, v, 1), z) for v in (x, y)]
    return stats.pearsonr(*left).statistic


@given(st.integers(5, 30), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_partial_spearman_equals_the_correlation_of_residual_ranks(models, seed):
    generator = numpy.random.default_rng(seed)
    figures = generator.normal(size=(models, 3))
    figures[:, 0] += figures[:, 2]
    plain, partial = partial_spearman(figures[None])
    x, y, z = figures.T
    assert plain[0] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-10)
    if max(abs(stats.spearmanr(v, z).statistic) for v in (x, y)) > 1 - 1e-9:
        assert numpy.isnan(partial[0])  # nothing is left of a figure that z orders
    else:
        assert partial[0] == pytest.approx(residual_correlation(x, y, z), abs=1e-9)


def test_partial_spearman_with_ties_ranks_them_at_their_mean():
    figures = numpy.array([[1, 1, 3], [1, 2, 1], [2, 2, 2], [3, 5, 2], [4, 3, 9.0]])
    plain, partial = partial_spearman(figures[None])
    x, y, z = figures.T
    assert plain[0] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert partial[0] == pytest.approx(residual_correlation(x, y, z))


def test_partial_spearman_of_a_score_that_orders_as_the_fixed_one_is_undefined():
    figures = numpy.array([[i, (i * 7) % 5, i] for i in range(5)], dtype=float)
    plain, partial = partial_spearman(figures[None])
    assert numpy.isfinite(plain[0])
    assert numpy.isnan(partial[0])


def judged(values):
    place = {"target": "t", "shots": "full", "recipe": "r", "metric": "accuracy"}
    return polars.DataFrame([place | {"model": m, "value": v} for m, v in values.items()])


def score_rows(method, values):
    return [
        {"target": "t", "shots": "full", "model": m, "method": method, "variant": "", "value": v}
        for m, v in values.items()
    ]


def test_confounded_property_loses_its_correlation_when_the_source_accuracy_is_fixed():
    generator = numpy.random.default_rng(0)
    models = [f"m{i}" for i in range(2000)]
    source = generator.normal(size=2000)
    flat = source + 0.5 * generator.normal(size=2000)
    transfer = source + 0.5 * generator.normal(size=2000)
    cause = generator.normal(size=2000)
    transfer_caused = transfer + 2 * cause
    zoo = frame(
        "zoo", [{"model": m, "source_accuracy": s} for m, s in zip(models, source, strict=True)]
    )
    scores = frame(
        "scores",
        score_rows("flat", dict(zip(models, flat, strict=True)))
        + score_rows("cause", dict(zip(models, cause, strict=True)))
        + score_rows("source_accuracy", dict(zip(models, source, strict=True))),
    )
    table = partial_correlations(
        Selection(),
        scores,
        judged(dict(zip(models, transfer_caused, strict=True))),
        zoo,
    )
    rows = {row["method"]: row for row in table.iter_rows(named=True)}
    assert set(rows) == {"flat", "cause"}
    assert rows["flat"]["spearman"] > 0.3
    assert abs(rows["flat"]["partial"]) < 0.07
    assert rows["cause"]["low"] > 0.7


def test_partial_interval_covers_the_truth_about_as_often_as_it_says():
    """Score and transfer both follow the source accuracy, and nothing else joins them."""
    generator = numpy.random.default_rng(0)
    models = [f"m{i}" for i in range(10)]
    hits = 0
    for _ in range(200):
        source = generator.normal(size=10)
        score, transfer = source + generator.normal(size=(2, 10))
        zoo = frame(
            "zoo", [{"model": m, "source_accuracy": s} for m, s in zip(models, source, strict=True)]
        )
        row = partial_correlations(
            Selection(confidence=0.9),
            frame("scores", score_rows("x", dict(zip(models, score, strict=True)))),
            judged(dict(zip(models, transfer, strict=True))),
            zoo,
        ).row(0, named=True)
        # Ranks do not hold a normal figure wholly fixed: the partial correlation left is 0.02.
        hits += row["low"] <= 0.02 <= row["high"]
    # 200 at 90 %: 180 expected, deviation 4.2.
    assert 168 <= hits <= 196


def test_partial_correlation_of_five_models_has_no_interval():
    """One of five is spent on what is held fixed."""
    zoo = frame(
        "zoo", [{"model": m, "source_accuracy": s} for m, s in zip(MODELS[:5], (1, 4, 2, 5, 3))]
    )
    scores = frame("scores", score_rows("x", dict(zip(MODELS[:5], (1.0, 2.0, 3.0, 4.0, 5.0)))))
    metric = judged(dict(zip(MODELS[:5], (2.0, 1.0, 4.0, 3.0, 5.0))))
    row = partial_correlations(Selection(), scores, metric, zoo).row(0, named=True)
    assert row["partial"] is not None
    assert (row["low"], row["high"]) == (None, None)


@pytest.mark.parametrize(
    ("values", "source", "reason"),
    [
        (dict.fromkeys("abc", 1.0), 0.5, "3 models"),
        (dict.fromkeys(MODELS, 1.0), 0.5, "same for all models"),
        ({m: float(i) for i, m in enumerate(MODELS)}, 0.5, "source_accuracy is the same"),
    ],
)
def test_undefined_partial_correlation_is_null_with_a_reason(values, source, reason):
    zoo = frame("zoo", [{"model": m, "source_accuracy": source} for m in MODELS])
    metric = judged({m: 0.1 * i**2 for i, m in enumerate(MODELS)})
    scores = frame("scores", score_rows("x", values))
    row = partial_correlations(Selection(), scores, metric, zoo).row(0, named=True)
    assert row["partial"] is None
    assert reason in row["reason"]


def test_model_without_source_accuracy_is_left_out():
    zoo = frame(
        "zoo",
        [{"model": m, "source_accuracy": None if m == "f" else i} for i, m in enumerate(MODELS)],
    )
    scores = frame("scores", score_rows("x", {m: float(-i) for i, m in enumerate(MODELS)}))
    metric = judged({m: 0.1 * i for i, m in enumerate(MODELS)})
    assert partial_correlations(Selection(), scores, metric, zoo)["models"].item() == 5
