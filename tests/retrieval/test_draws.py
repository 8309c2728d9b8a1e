"""Galleries of one random image an identity: each draw against a ranking written out here."""

import json

import numpy
import polars
import pytest
from tests.retrieval.test_published_protocols import squared, transcribed
from tests.retrieval.test_retrieve_command import command, write_parquet

from xferpipe.retrieval.files import one_of_each
from xferpipe.seeding import numpy_generator


@pytest.fixture
def sets():
    random = numpy.random.default_rng(12)
    return {
        name: {
            "feature": random.integers(-9, 9, (rows, 3)).astype(numpy.float32),
            "identity": random.integers(0, 12, rows),
        }
        for name, rows in (("query", 40), ("gallery", 80))
    }


def drawn(sets, seed, draw):
    gallery = sets["gallery"]
    rows = one_of_each(gallery["identity"], numpy_generator(seed, "retrieve", "draw", draw))
    same = sets["query"]["identity"][:, None] == gallery["identity"][rows]
    good = [set(numpy.flatnonzero(row).tolist()) for row in same]
    distances = squared(sets["query"]["feature"], gallery["feature"][rows])
    return transcribed(distances, good, [set()] * len(same), "step")


def test_one_of_each_draws_each_image_alike():
    identity = numpy.repeat([4, 7, 9], [1, 2, 5])
    counts = numpy.zeros(8)
    for draw in range(2000):
        rows = one_of_each(identity, numpy_generator(0, draw))
        assert identity[rows].tolist() == [4, 7, 9]
        counts[rows] += 1
    expected = numpy.repeat([2000, 1000, 400], [1, 2, 5])
    assert (abs(counts - expected) <= 5 * numpy.sqrt(expected)).all()


@pytest.mark.parametrize("seed", [0, 3])
def test_retrieve_draws_are_averaged_with_their_deviation(seed, sets, tmp_path):
    paths = [write_parquet(tmp_path / f"{name}.parquet", sets[name]) for name in sets]
    words = ("--query", paths[0], "--gallery", paths[1], "--keep-self")
    flags = ("--draws", 5, "--seed", seed)
    result = command(*words, *flags, "--json", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    draws = [drawn(sets, seed, draw) for draw in range(5)]
    for name in ("rank1", "map", "minp"):
        values = [one[name] for one in draws]
        assert found[name] == pytest.approx(numpy.mean(values))
        assert found[f"{name}_deviation"] == pytest.approx(numpy.std(values, ddof=1))
    assert (found["draws"], found["gallery"]) == (5, 12)
    lists = polars.read_parquet(tmp_path / "out/ranked_lists.parquet")
    rows = one_of_each(sets["gallery"]["identity"], numpy_generator(seed, "retrieve", "draw", 0))
    assert set(lists["gallery"]) <= set(rows.tolist())
    assert "means of 5 draws; standard deviation: rank1" in command(*words, *flags).stdout


def test_retrieve_draws_of_one_file_leave_the_drawn_images_out(sets, tmp_path):
    """VehicleID's protocol: what was not drawn is a query."""
    sets["gallery"]["feature"] += numpy.arange(80)[:, None] / 256  # no two images alike
    path = write_parquet(tmp_path / "set.parquet", sets["gallery"])
    flags = ("--leave-self-out", "--draws", 3, "--rerank", "--k1", 4)
    result = command("--query", path, "--gallery", path, *flags, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["queries"], found["queries_without_positive"]) == (80 - 12, 12)
    assert found["without_reranking"]["draws"] == 3


def test_retrieve_draws_and_what_needs_the_whole_gallery_are_refused(sets, tmp_path):
    paths = [write_parquet(tmp_path / f"{name}.parquet", sets[name]) for name in sets]
    words = ("--query", paths[0], "--gallery", paths[1], "--keep-self", "--draws", 2)
    for flag in ("--camera-pairs", "--operating-points"):
        result = command(*words, flag)
        assert result.exit_code == 2
        assert "leave --camera-pairs and --operating-points out" in result.stderr
