import numpy
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xferpipe.config.scores import PROPERTIES
from xferpipe.config.study import Selection
from xferpipe.minimisers.predictors import (
    partial_correlations,
    partial_spearman,
    property_rows,
)
from xferpipe.records import empty, frame

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
        Selection(bootstrap_samples=200),
        scores,
        judged(dict(zip(models, transfer_caused, strict=True))),
        zoo,
        seed=0,
    )
    rows = {row["method"]: row for row in table.iter_rows(named=True)}
    assert set(rows) == {"flat", "cause"}
    assert rows["flat"]["spearman"] > 0.3
    assert abs(rows["flat"]["partial"]) < 0.07
    assert rows["cause"]["low"] > 0.7


def test_partial_interval_of_few_models_leaves_out_draws_that_say_nothing():
    """Of 5 models, draws of 3 distinct ones always give -1 or 1: the ends must not be theirs."""
    models = MODELS[:5]
    zoo = frame(
        "zoo", [{"model": m, "source_accuracy": s} for m, s in zip(models, (1, 4, 2, 5, 3))]
    )
    scores = frame("scores", score_rows("x", dict(zip(models, (1.0, 2.0, 3.0, 4.0, 5.0)))))
    metric = judged(dict(zip(models, (2.0, 1.0, 4.0, 3.0, 5.0))))
    row = partial_correlations(
        Selection(bootstrap_samples=400, confidence=0.5), scores, metric, zoo, seed=0
    ).row(0, named=True)
    assert -1 < row["low"] <= row["partial"] <= row["high"] < 1


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
    row = partial_correlations(Selection(), scores, metric, zoo, seed=0).row(0, named=True)
    assert row["partial"] is None
    assert reason in row["reason"]


def test_model_without_source_accuracy_is_left_out():
    zoo = frame(
        "zoo",
        [{"model": m, "source_accuracy": None if m == "f" else i} for i, m in enumerate(MODELS)],
    )
    scores = frame("scores", score_rows("x", {m: float(-i) for i, m in enumerate(MODELS)}))
    metric = judged({m: 0.1 * i for i, m in enumerate(MODELS)})
    assert partial_correlations(Selection(), scores, metric, zoo, seed=0)["models"].item() == 5


def minimiser_row(model, **values):
    row = {"phase": "pretrained", "dataset": "s", "model": model, "split": "test", "seed": 0}
    return row | {"low": 0.1, "high": 0.9, "images": 50, "seconds": 2.0} | values


def test_property_rows_point_the_way_that_is_thought_to_transfer():
    table = frame(
        "minimisers",
        [
            minimiser_row("a", probe="noise", intensity=0.2, measure="accuracy", value=0.6),
            minimiser_row("a", probe="noise", intensity=0.2, measure="loss", value=1.6),
            minimiser_row("a", probe="energy", intensity=0.1, measure="error", value=0.3),
            minimiser_row(
                "a", probe="weights", intensity=0.0, measure="norm", value=7.0, split=None
            ),
            minimiser_row("a", probe="noise", intensity=0.2, measure="accuracy", value=0.9)
            | {"phase": "finetuned"},
            minimiser_row("a", probe="fgsm", intensity=0.2, measure="accuracy", value=0.9)
            | {"split": "train"},
        ],
    )
    distances = frame(
        "distances",
        [
            {"first": "a", "second": "b", "normalisation": flag, "distance": d}
            for flag, d in ((True, 4.0), (False, 3.0))
        ]
        + [{"first": "c", "second": "a", "normalisation": True, "distance": 6.0}],
    )
    paths = frame(
        "paths",
        [
            {
                "first": "a",
                "second": "b",
                "kind": kind,
                "split": "test",
                "t": t,
                "loss_barrier": 0.5,
            }
            for kind in ("straight", "bezier")
            for t in (0.0, 1.0)
        ],
    )
    epochs = frame(
        "epochs",
        [
            {"stage": "pretrain", "model": "a", "epoch": e, "distance": d}
            | {"distance_without_normalisation": d - 1}
            for e, d in ((2, 9.0), (1, 5.0))
        ],
    )
    rows = property_rows(table, distances, paths, epochs, [("t", "full"), ("t", "5")])
    own = rows.filter(target="t", shots="5", model="a")
    found = {(m, v): x for m, v, x in own.select("method", "variant", "value").iter_rows()}
    assert found == {
        ("noise_accuracy", "0.2"): 0.6,
        ("local_energy", "error 0.1"): -0.3,
        ("weight_norm", "all"): -7.0,
        ("weight_travel", "all"): -9.0,
        ("weight_travel", "without_normalisation"): -8.0,
        ("weight_distance", "all"): -5.0,
        ("weight_distance", "without_normalisation"): -3.0,
        ("path_barrier", "loss"): -0.5,
    }
    assert set(own["method"]) <= set(PROPERTIES)
    energy = own.filter(method="local_energy").row(0, named=True)
    assert (energy["low"], energy["high"]) == (-0.9, -0.1)
    assert energy["seconds"] == 2.0
    assert rows.filter(shots="full").drop("shots").equals(rows.filter(shots="5").drop("shots"))


def test_property_that_is_not_finite_is_null_with_a_reason():
    rows = [
        minimiser_row("a", probe="energy", intensity=i, measure="loss", value=value)
        for i, value in ((0.1, 1.0), (0.2, float("inf")), (0.3, float("nan")))
    ]
    others = (empty(name) for name in ("distances", "paths", "epochs"))
    found = property_rows(frame("minimisers", rows), *others, [("t", "full")])
    assert found["value"].to_list() == [-1.0, None, None]
    assert found["reason"].to_list() == [None, *["the property is not finite"] * 2]


def test_property_rows_of_a_study_without_probes_are_none():
    tables = (empty(name) for name in ("minimisers", "distances", "paths", "epochs"))
    assert property_rows(*tables, [("t", "full")]).is_empty()
