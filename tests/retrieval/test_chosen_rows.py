"""Images of some identities left out: as if the files had never held them."""

import json

import numpy
import polars
import pytest
from tests.retrieval.test_retrieve_command import command, write_npy

from xferpipe.retrieval import chosen_rows, evaluate
from xferpipe.retrieval.feature_files import opened


@pytest.fixture
def sets():
    """Queries of nine people; in the gallery they are among 30 boxes of nobody."""
    random = numpy.random.default_rng(5)
    made = {}
    for name, identity in (
        ("query", numpy.arange(1, 10)),
        ("gallery", random.permutation([*numpy.repeat(numpy.arange(10), 4), *[-1] * 30])),
    ):
        rows = len(identity)
        made[name] = {
            "feature": random.normal(size=(rows, 4)).astype(numpy.float32),
            "identity": identity,
            "camera": random.integers(0, 3, rows),
            "path": [f"{name}/{row}.jpg" for row in range(rows)],
        }
    return made


def figures_of(sets, kept):
    arguments = [
        sets[side][name][kept[side]]
        for name in ("feature", "identity", "camera")
        for side in ("query", "gallery")
    ]
    return evaluate(*arguments)


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("in_memory", [False, True])
def test_retrieve_dropped_identities_count_for_nothing(
    names, in_memory, sets, tmp_path, monkeypatch
):
    if not in_memory:
        monkeypatch.setattr(chosen_rows, "_IN_MEMORY_BYTES", 0)
        monkeypatch.setattr(chosen_rows, "_BLOCK_BYTES", 64)
    kept = {
        "query": sets["query"]["identity"] != 3,
        "gallery": ~numpy.isin(sets["gallery"]["identity"], [-1, 3]),
    }
    expected = figures_of(sets, kept)
    assert expected["map"] > figures_of(sets, {side: slice(None) for side in sets})["map"]
    if names:  # names as files have them: zeros in front, the mark of nobody among them
        for columns in sets.values():
            columns["identity"] = [f"{number:04d}" for number in columns["identity"]]
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    words = ("--query", paths[0], "--gallery", paths[1], "--json", "--output", tmp_path / "out")
    result = command(*words, "--drop-identity", "-1", "--drop-identity", "3")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert {name: found[name] for name in expected} == expected
    assert not result.stderr
    lists = polars.read_parquet(tmp_path / "out/ranked_lists.parquet")
    assert set(lists["gallery"]) <= set(numpy.flatnonzero(kept["gallery"]))
    named = [f"gallery/{row}.jpg" for row in lists["gallery"]]
    assert lists["path"].to_list() == named


def test_retrieve_identity_of_nobody_is_told(sets, tmp_path):
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1])
    assert result.exit_code == 0
    assert "note: 30 of 70 gallery images have identity -1" in result.stderr
    assert "--drop-identity -1" in result.stderr
    sets["query"]["identity"][2] = -1
    write_npy(paths[0], sets["query"])
    told = command("--query", paths[0], "--gallery", paths[1]).stderr
    assert "1 of 9 queries have identity -1" in told


@pytest.mark.parametrize(
    ("dropped", "message"),
    [
        (["77"], "--drop-identity 77: no image has this identity (identities of the gallery: -1,"),
        ([str(number) for number in range(1, 10)], "leaves no row of the query"),
    ],
)
def test_retrieve_dropping_what_is_not_there_or_all_is_refused(dropped, message, sets, tmp_path):
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    flags = [word for identity in dropped for word in ("--drop-identity", identity)]
    result = command("--query", paths[0], "--gallery", paths[1], *flags)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.float32, numpy.float64])
def test_chosen_rows_of_a_mapped_file_are_its_rows(dtype, sets, tmp_path, monkeypatch):
    monkeypatch.setattr(chosen_rows, "_IN_MEMORY_BYTES", 0)
    sets["gallery"]["feature"] = sets["gallery"]["feature"].astype(dtype)
    path = write_npy(tmp_path / "gallery.npy", sets["gallery"])
    rows = numpy.array([0, 3, 4, 40, 69])
    with opened(path) as file, chosen_rows.chosen_rows(file, rows) as chosen:
        assert isinstance(chosen.features, numpy.memmap)
        assert chosen.features.dtype == dtype
        assert (chosen.features == sets["gallery"]["feature"][rows]).all()
        assert chosen.labels["row"].to_list() == rows.tolist()
