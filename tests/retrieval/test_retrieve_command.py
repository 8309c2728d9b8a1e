"""`xferpipe retrieve` and the files it reads."""

import contextlib
import io
import json
from types import SimpleNamespace

import numpy
import polars
import pytest

from xferpipe.cli import main
from xferpipe.records import read_table
from xferpipe.retrieval import evaluate
from xferpipe.retrieval.feature_files import opened

QUERIES, GALLERY, WIDTH = 12, 90, 6


@pytest.fixture
def sets():
    random = numpy.random.default_rng(0)
    return {
        name: {
            "feature": random.normal(size=(rows, WIDTH)).astype(numpy.float32),
            "identity": random.integers(0, 9, rows),
            "camera": random.integers(0, 3, rows),
        }
        for name, rows in (("query", QUERIES), ("gallery", GALLERY))
    }


LISTS = polars.List(polars.Float32)


def write_parquet(path, columns, kind=LISTS):
    feature = polars.Series("feature", columns["feature"].tolist(), dtype=kind)
    others = {name: values for name, values in columns.items() if name != "feature"}
    polars.DataFrame(others).with_columns(feature).write_parquet(path)
    return path


def write_npy(path, columns, sidecar=".csv"):
    numpy.save(path, columns["feature"])
    others = {name: values for name, values in columns.items() if name != "feature"}
    table = polars.DataFrame(others)
    if sidecar == ".csv":
        table.write_csv(path.with_suffix(".csv"))
    else:
        table.write_parquet(path.with_suffix(".parquet"))
    return path


def command(*arguments):
    """Run `xferpipe retrieve` as a shell does; an error that is no message is raised here."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as left,
    ):
        main(["retrieve", *map(str, arguments)])
    return SimpleNamespace(exit_code=left.value.code, stdout=out.getvalue(), stderr=err.getvalue())


def expected_of(sets, **options):
    return evaluate(
        sets["query"]["feature"],
        sets["gallery"]["feature"],
        sets["query"]["identity"],
        sets["gallery"]["identity"],
        sets["query"]["camera"],
        sets["gallery"]["camera"],
        **options,
    )


@pytest.mark.parametrize("kind", ["parquet", "array", "npy", "npy-parquet"])
def test_retrieve_every_kind_of_file_gives_the_figures_of_evaluate(kind, sets, tmp_path):
    if kind in ("parquet", "array"):
        column = (
            polars.Array(polars.Float64, WIDTH) if kind == "array" else polars.List(polars.Float32)
        )
        paths = [write_parquet(tmp_path / f"{name}.parquet", sets[name], column) for name in sets]
    else:
        sidecar = ".parquet" if kind == "npy-parquet" else ".csv"
        paths = [write_npy(tmp_path / f"{name}.npy", sets[name], sidecar) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1], "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    expected = expected_of(sets)
    assert {name: found[name] for name in expected} == expected
    assert list(found)[:6] == ["rank1", "rank5", "rank10", "rank20", "map", "minp"]


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (["--distance", "cosine"], {"distance": "cosine"}),
        (["--ap-kind", "trapezoid"], {"ap_kind": "trapezoid"}),
        (["--junk-rule", "none"], {"junk_rule": "none"}),
        (["--normalised"], {"normalised": True}),
        (["--query-expansion", "3"], {"query_expansion": 3}),
    ],
)
def test_retrieve_options_are_those_of_evaluate(flags, options, sets, tmp_path):
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1], "--json", *flags)
    expected = expected_of(sets, **options)
    assert expected != expected_of(sets)
    found = json.loads(result.stdout)
    assert {name: found[name] for name in expected} == expected


def test_retrieve_output_writes_the_tables(sets, tmp_path):
    for name in sets:
        sets[name]["path"] = [f"{name}/{row}.jpg" for row in range(len(sets[name]["identity"]))]
    paths = [write_parquet(tmp_path / f"{name}.parquet", sets[name]) for name in sets]
    result = command(
        *("--query", paths[0], "--gallery", paths[1], "--output", tmp_path / "out"),
        *("--camera-pairs", "--list-length", 7),
    )
    assert result.exit_code == 0, result.stderr
    assert "rank1 0." in result.stdout
    (row,) = read_table("retrieval", tmp_path / "out/retrieval.parquet").to_dicts()
    expected = expected_of(sets)
    assert row["map"] == expected["map"]
    assert row["target"] == "gallery"
    asked = read_table("retrieval_queries", tmp_path / "out/retrieval_queries.parquet")
    assert asked["path"].to_list() == sets["query"]["path"]
    assert asked["camera"].to_list() == sets["query"]["camera"].tolist()
    lists = read_table("ranked_lists", tmp_path / "out/ranked_lists.parquet")
    assert len(lists) == 7 * QUERIES
    distances = ((sets["query"]["feature"][0] - sets["gallery"]["feature"]) ** 2).sum(1)
    assert lists["gallery"][:7].to_list() == numpy.argsort(distances)[:7].tolist()
    assert lists["distance"][0] == pytest.approx(distances.min() ** 0.5, rel=1e-5)
    pairs = read_table("camera_pairs", tmp_path / "out/camera_pairs.parquet")
    assert set(pairs["query_camera"]) == {0, 1, 2}


def test_retrieve_names_are_numbered_alike_on_both_sides(sets, tmp_path):
    expected = expected_of(sets)
    for columns in sets.values():
        columns["identity"] = [f"whale {number}" for number in columns["identity"]]
        columns["camera"] = [f"buoy {number}" for number in columns["camera"]]
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    found = json.loads(command("--query", paths[0], "--gallery", paths[1], "--json").stdout)
    assert {name: found[name] for name in expected} == expected


def test_retrieve_without_cameras_nothing_is_junk(sets, tmp_path):
    for columns in sets.values():
        del columns["camera"]
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    found = json.loads(command("--query", paths[0], "--gallery", paths[1], "--json").stdout)
    assert found["junk_rule"] == "none"


def test_retrieve_one_camera_for_all_names_the_rule(sets, tmp_path):
    for columns in sets.values():
        columns["camera"][:] = 1
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1])
    assert result.exit_code == 2
    assert "same_camera removed all" in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "query.csv").unlink(), "no table of labels beside it"),
        (lambda folder: (folder / "query.npy").unlink(), "no such file"),
        (lambda folder: (folder / "query.npy").write_bytes(b"no"), "cannot be read as NPY"),
        (lambda folder: numpy.save(folder / "query.npy", numpy.zeros(3)), "expected floating"),
        (lambda folder: numpy.save(folder / "query.npy", numpy.zeros((3, 6))), "has 3 rows but"),
        (lambda folder: (folder / "query.csv").write_text("identity\n7\n"), "has 1"),
        (lambda folder: (folder / "query.csv").write_text("name\n" + "x\n" * 12), "'identity'"),
    ],
)
def test_retrieve_wrong_npy_is_named(change, message, sets, tmp_path):
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    change(tmp_path)
    result = command("--query", paths[0], "--gallery", paths[1])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "query" in result.stderr


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"identity": [1, 2]}, "no column 'feature'"),
        ({"identity": [1, 2], "feature": [1.0, 2.0]}, "expected lists of numbers"),
        ({"identity": [1, 2], "feature": [[1.0, 2.0], [1.0]]}, "row 1 has 1 features"),
        ({"identity": [1, 2], "feature": [[1.0, 2.0], [1.0, None]]}, "1 nulls"),
        ({"identity": [1, None], "feature": [[1.0], [2.0]]}, "every row needs a value"),
    ],
)
def test_opened_wrong_parquet_is_named(columns, message, tmp_path):
    polars.DataFrame(columns).write_parquet(tmp_path / "query.parquet")
    with pytest.raises(ValueError, match=message), opened(tmp_path / "query.parquet"):
        pass


def test_opened_pickled_npy_is_refused(tmp_path):
    """Nothing is unpickled from a user's file."""
    numpy.save(tmp_path / "query.npy", numpy.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as NPY"), opened(tmp_path / "query.npy"):
        pass


def test_opened_npy_is_mapped_and_not_loaded(sets, tmp_path):
    path = write_npy(tmp_path / "gallery.npy", sets["gallery"])
    with opened(path) as file:
        assert isinstance(file.features, numpy.memmap)
