"""`xferpipe retrieve` and the files it reads."""

import contextlib
import io
import json
from types import SimpleNamespace

import numpy
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe.cli import main
from xferpipe.records import read_table
from xferpipe.retrieval import evaluate
from xferpipe.retrieval.feature_files import FeatureFileError, opened

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
    assert result.stdout.split()[:6] == ["rank1", "rank5", "rank10", "rank20", "map", "minp"]
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
        (lambda folder: numpy.save(folder / "query.npy", numpy.zeros(3)), "expected float16"),
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


@pytest.mark.parametrize("side", ["query", "gallery"])
@pytest.mark.parametrize("far", [0, 1e4])
def test_retrieve_row_that_is_no_number_is_named(side, far, sets, tmp_path):
    """Far from the origin the mean is taken off first, which must not spread the NaN."""
    for columns in sets.values():
        columns["feature"] += far
    sets[side]["feature"][5, 2] = numpy.nan
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {side} row 5 holds NaN or infinity (1 such rows)")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (numpy.zeros((0, 6), "f4"), "shape (0, 6)"),
        (numpy.zeros((12, 0), "f4"), "shape (12, 0)"),
        (numpy.zeros((12, 6), ">f4"), "type >f4"),
        (numpy.zeros((12, 6), numpy.longdouble), "expected float16, float32 or float64"),
        (numpy.zeros((12, 6), complex), "type complex128"),
        (numpy.zeros((12, 6), int), "type int64"),
    ],
)
def test_opened_npy_of_another_shape_or_type_is_named(features, message, sets, tmp_path):
    path = write_npy(tmp_path / "query.npy", sets["query"])
    numpy.save(path, features)
    with pytest.raises(FeatureFileError) as raised, opened(path):
        pass
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty CSV"),
        ("identity,camera\n1\n1,2,3\n", "found more fields"),
        (b"identity\n\xff\xfe\n", "it is no UTF-8 text; save it as UTF-8"),
        ("identity,camera\n" + "1.5,2\n" * 12, "identity holds 1.5; expected classes: whole"),
        ("identity,camera\n" + "1,inf\n" * 12, "camera holds infinity"),
        ("identity,camera\n" + "01,1\n1,1\n" * 6, "'01' (6 rows) and '1' (6 rows) are one number"),
        ("identity,camera\n" + "a,1\na ,1\n" * 6, "differ in spaces alone"),
        ("identity,camera,camera\n" + "1,1,1\n" * 12, "two columns are called 'camera' (2 and 3)"),
        ("identity,camera\n" + "NaN,1.0\n" * 12, "every row needs a value"),
    ],
)
def test_opened_sidecar_that_is_no_table_of_labels_is_named(content, message, sets, tmp_path):
    path = write_npy(tmp_path / "query.npy", sets["query"])
    kept = content if isinstance(content, bytes) else content.encode()
    path.with_suffix(".csv").write_bytes(kept)
    with pytest.raises(FeatureFileError, match=r"query\.csv") as raised, opened(path):
        pass
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"identity": [[1], [2]]}, r"'identity' has type List\(Int64\)"),
        ({"identity": [{"a": 1}, {"a": 2}]}, "'identity' has type Struct"),
        ({"identity": [1, 2], "camera": [[1], [2]]}, "'camera' has type"),
    ],
)
def test_opened_labels_of_another_type_are_named(columns, message, tmp_path):
    table = polars.DataFrame({**columns, "feature": [[1.0], [2.0]]})
    table.write_parquet(tmp_path / "query.parquet")
    with pytest.raises(FeatureFileError, match=message), opened(tmp_path / "query.parquet"):
        pass


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "no rows"), ([[1.0], None], "row 1 has no features"), ([[], []], "expected lists of")],
)
def test_opened_parquet_rows_without_features_are_named(rows, message, tmp_path):
    feature = polars.Series("feature", rows, dtype=polars.List(polars.Float32))
    identity = polars.Series("identity", range(len(rows)), dtype=polars.Int64)
    polars.DataFrame([identity, feature]).write_parquet(tmp_path / "query.parquet")
    with pytest.raises(FeatureFileError, match=message), opened(tmp_path / "query.parquet"):
        pass


def test_opened_whole_numbers_and_missing_ones_as_pandas_writes_them(tmp_path):
    """Numbers as floating point with NaN: unknown cameras stay unknown, and never are one."""
    columns = {"identity": [1.0, 2.0], "camera": [numpy.nan, 3.0], "feature": [[1.0], [2.0]]}
    polars.DataFrame(columns).write_parquet(tmp_path / "query.parquet")
    with opened(tmp_path / "query.parquet") as file:
        assert file.labels["identity"].to_list() == [1, 2]
        assert file.labels["camera"].to_list() == [None, 3]


def test_opened_names_after_many_numbers_are_names(sets, tmp_path):
    path = write_npy(tmp_path / "query.npy", sets["query"])
    names = [*map(str, range(QUERIES - 1)), "whale"]
    path.with_suffix(".csv").write_text("\n".join(["identity", *names]) + "\n")
    with opened(path) as file:
        assert file.labels["identity"].to_list() == names


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffidentity;camera;path\r\n7;1;a,b.png\r\n8;;c.png\r\n",
        "camera\tpath\tidentity\n1\ta,b.png\t7\n\tc.png\t8\n",
        'note, identity, camera, path\nx,7,1,"a,b.png"\ny,8,nan,c.png\n',
    ],
    ids=["semicolons", "tabs", "spaces"],
)
def test_opened_sidecar_of_any_form_is_the_same(content, tmp_path):
    numpy.save(tmp_path / "query.npy", numpy.eye(2, dtype=numpy.float32))
    (tmp_path / "query.csv").write_text(content, encoding="utf-8", newline="")
    with opened(tmp_path / "query.npy") as file:
        assert file.labels["identity"].to_list() == [7, 8]
        assert file.labels["camera"].to_list() == [1, None]
        assert file.labels["path"].to_list() == ["a,b.png", "c.png"]


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1), change=st.binary(min_size=1, max_size=64), kind=st.booleans())
def test_opened_damaged_file_is_read_or_refused_in_words(place, change, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    columns = {
        "feature": numpy.random.default_rng(0).normal(size=(300, 5)).astype(numpy.float32),
        "identity": numpy.arange(300) % 7,
    }
    path = folder / ("query.parquet" if kind else "query.npy")
    (write_parquet if kind else write_npy)(path, columns)
    content = bytearray(path.read_bytes())
    at = int(place * (len(content) - len(change)))
    content[at : at + len(change)] = change
    path.write_bytes(content)
    with contextlib.suppress(FeatureFileError), opened(path) as file:
        assert len(file.features) == len(file.labels)


def test_retrieve_path_with_quotes_blanks_and_stars_is_a_path(sets, tmp_path):
    folder = tmp_path / 'it\'s a "folder" [ab]*;$x'
    folder.mkdir()
    for write, ending in ((write_parquet, "parquet"), (write_npy, "npy")):
        paths = [write(folder / f"{name} ?.{ending}", sets[name]) for name in sets]
        result = command(
            *("--query", paths[0], "--gallery", paths[1], "--json", "--output", folder / "o ut")
        )
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["map"] == expected_of(sets)["map"]
        assert read_table("ranked_lists", folder / "o ut/ranked_lists.parquet").height


def test_retrieve_output_that_is_a_file_is_refused_before_any_work(sets, tmp_path):
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    (tmp_path / "out").write_text("mine")
    missing = tmp_path / "nothing.npy"  # read first, it would be the error
    result = command("--query", missing, "--gallery", paths[1], "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "is a file; give a folder" in result.stderr


def test_retrieve_longer_lists_than_the_gallery_are_cut(sets, tmp_path):
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    flags = ("--list-length", 10**9, "--query-expansion", 10**9, "--output", tmp_path / "out")
    assert command("--query", paths[0], "--gallery", paths[1], *flags).exit_code == 0
    lists = read_table("ranked_lists", tmp_path / "out/ranked_lists.parquet")
    assert lists.height == QUERIES * GALLERY


@pytest.mark.parametrize("flag", ["--list-length", "--query-expansion"])
def test_retrieve_lists_that_nobody_can_hold_are_refused(flag, sets, tmp_path, monkeypatch):
    monkeypatch.setattr("xferpipe.retrieval.files._LARGEST_LISTS", 20 * QUERIES)
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    words = ("--query", paths[0], "--gallery", paths[1], "--output", tmp_path / "out")
    result = command(*words, flag, 21)
    assert result.exit_code == 2
    assert "at most 20 a query" in result.stderr
    assert command(*words, flag, 20).exit_code == 0


def test_retrieve_cameras_on_one_side_alone_are_said(sets, tmp_path):
    del sets["gallery"]["camera"]
    paths = [write_npy(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1])
    assert result.exit_code == 0
    assert result.stderr == "note: the gallery images have no cameras, so nothing is junk\n"


def test_opened_sidecar_may_hold_the_features_too(sets, tmp_path):
    """An NPY file beside the Parquet file that it was made from: only its labels are read."""
    write_parquet(tmp_path / "query.parquet", sets["query"])
    numpy.save(tmp_path / "query.npy", sets["query"]["feature"])
    with opened(tmp_path / "query.npy") as file:
        assert file.labels["camera"].to_list() == sets["query"]["camera"].tolist()
        assert "feature" not in file.labels.columns


def test_opened_pickled_npy_is_refused(tmp_path):
    """Nothing is unpickled from a user's file."""
    numpy.save(tmp_path / "query.npy", numpy.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as NPY"), opened(tmp_path / "query.npy"):
        pass


def test_opened_npy_is_mapped_and_not_loaded(sets, tmp_path):
    path = write_npy(tmp_path / "gallery.npy", sets["gallery"])
    with opened(path) as file:
        assert isinstance(file.features, numpy.memmap)
