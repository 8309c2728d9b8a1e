"""Thresholds, against scikit-learn's curve and against loops over queries."""

import json

import numpy
import polars
import pytest
from sklearn.metrics import roc_curve
from tests.retrieval.test_retrieve_command import command, write_parquet

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval import operating_point
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.operating_point import PAIR_RATES, QUERY_RATES
from xferpipe.retrieval.outcomes import outcomes

QUERIES, GALLERY = 120, 300


@pytest.fixture
def sets():
    """A third of the queries show identities that the gallery has not."""
    random = numpy.random.default_rng(11)
    centre = 2 * random.normal(size=(60, 6))
    made = {}
    for name, rows, identities in (("query", QUERIES, 60), ("gallery", GALLERY, 40)):
        identity = random.integers(0, identities, rows)
        made[name] = {
            "feature": centre[identity] + random.normal(size=(rows, 6)),
            "identity": identity,
            "camera": random.integers(0, 4, rows),
        }
    return made


def reported(sets, distance):
    query, gallery = (columns["feature"] for columns in sets.values())
    if distance == "cosine":
        query, gallery = (x / numpy.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
        return 1 - query @ gallery.T
    return numpy.sqrt(((query[:, None] - gallery[None]) ** 2).sum(-1))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("rule", ["same_camera", "none"])
@pytest.mark.parametrize("block", [1 << 24, 1 << 12])
def test_operating_points_equal_the_roc_curve_and_a_loop(distance, rule, block, sets, monkeypatch):
    monkeypatch.setattr(operating_point, "_BLOCK_BYTES", block)
    sides = list(sets.values())
    labels = Labels.of(
        *(side["identity"] for side in sides),
        *(side["camera"] for side in sides),
        junk_rule=rule,
    )
    (outcome,) = outcomes(
        *(side["feature"] for side in sides),
        labels,
        Retrieval(distance=distance, normalised=False),
        reranked=(False,),
        points=True,
    )
    points, distances = outcome.points, reported(sets, distance)
    same = sides[0]["identity"][:, None] == sides[1]["identity"][None]
    junk = same & (sides[0]["camera"][:, None] == sides[1]["camera"][None])
    junk &= rule == "same_camera"
    false, true, thresholds = roc_curve(same[~junk], -distances[~junk], drop_intermediate=False)
    assert points.pairs == (int((same & ~junk).sum()), int((~same).sum()))
    for row in points.verification.iter_rows(named=True):
        allowed = false <= row["fpr"] * (1 + 1e-12)
        assert row["tpr"] == pytest.approx(true[allowed].max(), abs=1e-12)
        if row["threshold"] is not None:
            largest = -thresholds[allowed].min()
            assert row["threshold"] == pytest.approx(largest, rel=1e-5, abs=1e-6)
    assert points.verification["fpr"].to_list() == list(PAIR_RATES)

    best = numpy.where(junk, numpy.inf, distances).argmin(1)
    first = distances[numpy.arange(QUERIES), best]
    known = (same & ~junk).any(1)
    unknown = ~same.any(1)
    right = known & same[numpy.arange(QUERIES), best]
    assert points.queries == (known.sum(), unknown.sum())
    candidates = numpy.concatenate([[-1.0], numpy.sort(first)])
    for row in points.identification.iter_rows(named=True):
        rates = numpy.array([(first[unknown] <= limit).mean() for limit in candidates])
        detected = numpy.array(
            [(first[right] <= limit).sum() / known.sum() for limit in candidates]
        )
        assert row["dir"] == pytest.approx(detected[rates <= row["far"] * (1 + 1e-12)].max())
    assert points.identification["far"].to_list() == list(QUERY_RATES)


def test_pair_as_far_as_the_nearest_false_one_is_not_accepted():
    """Both at a distance of 1: no threshold lets the right one pass alone."""
    labels = Labels.of([1], [1, 2, 3])
    gallery = numpy.array([[1.0], [-1.0], [3.0]])
    features = numpy.zeros((1, 1)), gallery
    options = Retrieval(normalised=False)
    (outcome,) = outcomes(*features, labels, options, reranked=(False,), points=True)
    found = outcome.points.verification
    assert set(found["tpr"]) == {0.0}
    assert found["threshold"].null_count() == len(PAIR_RATES)


def test_operating_points_without_unknown_queries_are_null(sets):
    gallery = sets["gallery"]
    labels = Labels.of(gallery["identity"][:50], gallery["identity"][50:])
    features = gallery["feature"]
    (outcome,) = outcomes(
        features[:50], features[50:], labels, Retrieval(), reranked=(False,), points=True
    )
    unknown = outcome.points.queries[1]
    assert (outcome.points.at(1e-3)["dir"] is None) == (unknown == 0)
    assert outcome.points.at(1e-3)["tpr"] > 0


def test_retrieve_operating_points_are_printed_and_written(sets, tmp_path):
    kind = polars.List(polars.Float64)
    paths = [write_parquet(tmp_path / f"{name}.parquet", sets[name], kind) for name in sets]
    words = ("--query", paths[0], "--gallery", paths[1], "--operating-points")
    result = command(*words, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "thresholds: " in result.stdout
    table = polars.read_csv(tmp_path / "out/operating_points.csv")
    assert table.columns == ["kind", "allowed", "threshold", "accepted"]
    assert len(table) == len(PAIR_RATES) + len(QUERY_RATES)
    found = json.loads(command(*words, "--json").stdout)["operating_points"]
    assert [row["rate"] for row in found] == [1e-3, 1e-2]
    wanted = table.filter((polars.col("kind") == "verification") & (polars.col("allowed") == 0.01))
    assert found[1]["tpr"] == pytest.approx(wanted["accepted"][0])
    assert found[1]["threshold"] == pytest.approx(wanted["threshold"][0])
