"""`xferpipe score`: features from a file, a table or JSON, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import polars
import pytest
from probe_data import CASES
from typer.testing import CliRunner

from xferpipe import scores
from xferpipe.cli import application

DATA = CASES["tall"]


def table(nested: str = "array") -> polars.DataFrame:
    def column(values: numpy.ndarray) -> polars.Series:
        fixed = polars.Series(values, dtype=polars.Array(polars.Float64, values.shape[1]))
        return fixed if nested == "array" else fixed.arr.to_list()

    return polars.DataFrame(
        {
            "label": DATA.labels,
            "feature": column(DATA.features),
            "source_probability": column(DATA.source_probabilities),
        }
    )


def run(path: Path, *words: str):
    return CliRunner().invoke(application(), ["score", "--input", str(path), *words])


@pytest.mark.parametrize("nested", ["array", "list"])
def test_score_as_json_is_a_list_of_rows(tmp_path: Path, nested: str) -> None:
    path = tmp_path / "features.parquet"
    table(nested).write_parquet(path)
    found = run(path, "--methods", "h_score,leep", "--json")
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    assert [list(row) for row in rows] == [["method", "variant", "value", "reason", "seconds"]] * 2
    assert rows[0]["value"] == pytest.approx(scores.h_score(DATA.features, DATA.labels))
    assert rows[1]["value"] == pytest.approx(scores.leep(DATA.source_probabilities, DATA.labels))


def test_score_for_a_person_shows_reasons(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    table().drop("source_probability").write_parquet(path)
    found = run(path, "--methods", "knn, leep", "--bootstrap-samples", "20")
    assert found.exit_code == 0, found.output
    assert "no source head" in found.output
    assert "low" in found.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("label"), "but not label"),
        (lambda t: t.with_columns(polars.col("label").cast(polars.Float64)), "expected an integer"),
        (lambda t: t.with_columns(feature=polars.lit(1.0)), "expected a list of numbers"),
        (
            lambda t: t.with_columns(
                feature=polars.col("feature").arr.to_list().list.head(polars.int_range(1, 46))
            ),
            "expected one length",
        ),
    ],
)
def test_score_of_a_wrong_table_says_what_is_wrong(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "features.parquet"
    change(table()).write_parquet(path)
    found = run(path, "--methods", "knn")
    assert isinstance(found.exception, ValueError)
    assert message in str(found.exception)


def test_score_of_no_parquet_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    path.write_text("label,feature\n")
    assert "expected a Parquet file" in str(run(path).exception)


def test_score_of_no_file_says_what_is_there(tmp_path: Path) -> None:
    assert "no such file" in str(run(tmp_path / "none.parquet").exception)
    assert "is a folder" in str(run(tmp_path).exception)


@pytest.mark.parametrize("methods", ["", " , "])
def test_score_of_no_method_says_so(tmp_path: Path, methods: str) -> None:
    path = tmp_path / 'it\'s [all] "features" *.parquet'
    table().write_parquet(path)
    assert "names no score" in str(run(path, "--methods", methods).exception)
    assert run(path, "--methods", "knn,").exit_code == 0
