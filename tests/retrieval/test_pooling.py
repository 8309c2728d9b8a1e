"""Tracks, several queries and weighed expansion, against loops in float64."""

import json

import numpy
import polars
import pytest
from tests.retrieval.test_published_protocols import assert_same, squared, transcribed
from tests.retrieval.test_retrieve_command import command, write_parquet

from xferpipe.retrieval import evaluate


@pytest.fixture
def sets():
    random = numpy.random.default_rng(8)
    made = {}
    for name, rows in (("query", 24), ("gallery", 90)):
        identity = random.integers(0, 6, rows)
        made[name] = {
            "feature": random.normal(size=(rows, 4)) + 0.5 * identity[:, None] % 2,
            "identity": identity,
            "camera": random.integers(0, 2, rows),
        }
        made[name]["tracklet"] = 10 * identity + random.integers(0, 3, rows)
    return made


def unit(features):
    return features / numpy.linalg.norm(features, axis=-1, keepdims=True)


def by_hand(columns, key):
    """Group in order of appearance; mean of unit features."""
    groups = {}
    for row in range(len(columns["identity"])):
        groups.setdefault(tuple(columns[name][row] for name in key), []).append(row)
    members = list(groups.values())
    return {
        "feature": numpy.stack([unit(columns["feature"][own]).mean(0) for own in members]),
        "identity": numpy.array([columns["identity"][own[0]] for own in members]),
        "camera": [
            columns["camera"][own[0]] if len(set(columns["camera"][own])) == 1 else None
            for own in members
        ],
    }


def expected_of(query, gallery):
    good, junk = [], []
    for identity, camera in zip(query["identity"], query["camera"], strict=True):
        same = {j for j, other in enumerate(gallery["identity"]) if other == identity}
        own = {j for j in same if camera is not None and gallery["camera"][j] == camera}
        good.append(same - own)
        junk.append(own)
    return transcribed(squared(query["feature"], gallery["feature"]), good, junk, "step")


def run(sets, folder, *flags):
    kind = polars.List(polars.Float64)
    paths = [write_parquet(folder / f"{name}.parquet", sets[name], kind) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1], "--json", *flags)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_retrieve_tracks_are_means_of_unit_features(sets, tmp_path):
    query, gallery = (by_hand(columns, ["tracklet"]) for columns in sets.values())
    found = run(sets, tmp_path, "--track", "tracklet")
    assert_same(found, expected_of(query, gallery))
    assert found["gallery"] == len(gallery["identity"]) < 90


def test_retrieve_several_queries_are_means_by_identity_and_camera(sets, tmp_path):
    query = by_hand(sets["query"], ["identity", "camera"])
    found = run(sets, tmp_path, "--multi-query")
    assert_same(found, expected_of(query, sets["gallery"]))
    assert found["queries"] + found["queries_without_positive"] == len(query["identity"]) < 24


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("neighbours", [1, 5, 200])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_evaluate_alpha_weighs_neighbours_by_their_cosine(alpha, neighbours, offset, sets):
    """Far from the origin a common vector is taken off, which must not change the cosines."""
    query, gallery = (unit(columns["feature"] + offset) for columns in sets.values())
    similar = query @ gallery.T
    expanded = []
    for own, row in zip(query, similar, strict=True):
        near = numpy.argsort(-row, kind="stable")[:neighbours]
        weights = numpy.concatenate([[1.0], numpy.maximum(row[near], 0) ** alpha])
        expanded.append((weights[:, None] * numpy.vstack([own[None], gallery[near]])).sum(0))
    expanded = numpy.stack(expanded)
    distances = squared(unit(expanded), gallery)
    same = sets["query"]["identity"][:, None] == sets["gallery"]["identity"]
    good = [set(numpy.flatnonzero(row).tolist()) for row in same]
    expected = transcribed(distances, good, [set()] * 24, "step")
    found = evaluate(
        *(columns["feature"] + offset for columns in sets.values()),
        *(columns["identity"] for columns in sets.values()),
        distance="cosine",
        query_expansion=neighbours,
        alpha=alpha,
    )
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--track", "tracks"], "no column 'tracks' (columns: identity, camera, tracklet"),
        (["--track", "camera"], "hold several identities"),
        (["--alpha", 2], "goes with distance cosine"),
        (["--alpha", 2, "--distance", "cosine"], "weighs the images of query_expansion"),
    ],
)
def test_retrieve_items_that_make_no_sense_are_refused(flags, message, sets, tmp_path):
    paths = [write_parquet(tmp_path / f"{name}.parquet", sets[name]) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1], *flags)
    assert result.exit_code == 2
    assert message in result.stderr


def test_retrieve_images_without_a_track_stay_alone(sets, tmp_path):
    sets["gallery"]["tracklet"] = [None] * 90
    sets["query"]["tracklet"] = [None] * 24
    found = run(sets, tmp_path, "--track", "tracklet")
    for columns in sets.values():
        columns["feature"] = unit(columns["feature"])
    assert_same(found, expected_of(*sets.values()))
