"""Labels of two files: text against numbers, other names, spaces, nothing in common."""

import json

import numpy
import polars
import pytest
from tests.retrieval.test_retrieve_command import command, expected_of

from xferpipe.retrieval.feature_files import FeatureFileError, opened


@pytest.fixture
def sets():
    random = numpy.random.default_rng(2)
    return {
        name: {
            "feature": random.normal(size=(rows, 4)).astype(numpy.float32),
            "identity": 985 + random.integers(0, 30, rows),
            "camera": random.integers(1, 4, rows),
        }
        for name, rows in (("query", 30), ("gallery", 60))
    }


def write(path, columns, names=("identity", "camera")):
    numpy.save(path, columns["feature"])
    rows = zip(columns["identity"], columns["camera"], strict=True)
    lines = [",".join(names), *(f"{identity},{camera}" for identity, camera in rows)]
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path


def text(columns, identity="{:04d}", camera="{}"):
    return columns | {
        "identity": [identity.format(number) for number in columns["identity"]],
        "camera": [camera.format(number) for number in columns["camera"]],
    }


@pytest.mark.parametrize(
    ("query", "gallery"),
    [
        ({}, None),
        (None, {}),
        ({"camera": "c{}"}, None),
        ({"camera": "c{}"}, {"camera": "cam_{}"}),
        ({"identity": " {} "}, {}),
        ({"identity": "{}.0"}, None),
    ],
)
def test_retrieve_labels_of_both_sides_meet(query, gallery, sets, tmp_path):
    expected = expected_of(sets)
    assert expected["queries_without_positive"] < 10
    forms = {"query": query, "gallery": gallery}
    for name, form in forms.items():
        columns = sets[name] if form is None else text(sets[name], **form)
        path = tmp_path / f"{name}.parquet"
        table = polars.DataFrame({key: columns[key] for key in ("identity", "camera")})
        if form == {"identity": "{}.0"}:  # as pandas writes whole numbers where some are missing
            table = table.with_columns(polars.col("identity").cast(polars.Float64))
        table.with_columns(feature=polars.Series(columns["feature"].tolist())).write_parquet(path)
    words = [tmp_path / f"{name}.parquet" for name in forms]
    result = command("--query", words[0], "--gallery", words[1], "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_retrieve_reading_text_as_numbers_is_told(sets, tmp_path):
    paths = [
        write(tmp_path / "query.npy", text(sets["query"])),
        write(tmp_path / "gallery.npy", text(sets["gallery"], camera="c{}")),
    ]
    result = command("--query", *paths[:1], "--gallery", *paths[1:])
    assert result.exit_code == 0
    assert "column camera" in result.stderr


@pytest.mark.parametrize(
    "names",
    [("pid", "camid"), ("person_id", "cam_id"), (" identity", "camera "), ("PID", "CamID")],
)
def test_retrieve_columns_of_other_programs_are_understood(names, sets, tmp_path):
    paths = [write(tmp_path / f"{name}.npy", sets[name], names) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1], "--json")
    assert result.exit_code == 0, result.stderr
    expected = expected_of(sets)
    found = json.loads(result.stdout)
    assert {name: found[name] for name in expected} == expected


def test_retrieve_features_under_another_name(sets, tmp_path):
    for name, columns in sets.items():
        feature = polars.Series("embedding", columns["feature"].tolist())
        table = polars.DataFrame({"pid": columns["identity"], "camid": columns["camera"]})
        table.with_columns(feature).write_parquet(tmp_path / f"{name}.parquet")
    words = ("--query", tmp_path / "query.parquet", "--gallery", tmp_path / "gallery.parquet")
    result = command(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["map"] == pytest.approx(expected_of(sets)["map"])


def test_opened_our_own_name_wins_and_two_others_are_refused(sets, tmp_path):
    columns = {"identity": [1, 2], "pid": [7, 8], "feature": [[1.0], [2.0]]}
    path = tmp_path / "query.parquet"
    polars.DataFrame(columns).write_parquet(path)
    with opened(path) as file:
        assert file.labels["identity"].to_list() == [1, 2]
    polars.DataFrame(columns).rename({"identity": "person_id"}).write_parquet(path)
    with pytest.raises(FeatureFileError, match="'person_id' and 'pid' both mean identity"):
        opened(path).__enter__()


def test_retrieve_sides_with_nothing_in_common_are_told_with_examples(sets, tmp_path):
    sets["gallery"]["camera"] = sets["gallery"]["camera"] + 10
    sets["query"]["identity"][:20] += 5000
    paths = [write(tmp_path / f"{name}.npy", sets[name]) for name in sets]
    result = command("--query", paths[0], "--gallery", paths[1])
    assert result.exit_code == 0
    assert "no camera is on both sides (queries: 1, 2, 3; gallery: 11, 12, 13)" in result.stderr
    assert "of 30 queries have an identity that the gallery has not" in result.stderr
