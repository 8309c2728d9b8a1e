"""`xferpipe score`: one file as a table or JSON, several as a ranking, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import polars
import pytest
from probe_data import CASES
from scipy.stats import rankdata
from typer.testing import CliRunner

from xferpipe import scores
from xferpipe.cli import application

DATA = CASES["tall"]
NAMES = numpy.array(["ash", "birch", "oak", "elm", "fir"])[DATA.labels]


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


def run(*words: Path | str):
    return CliRunner().invoke(application(), ["score", *map(str, words)])


def told(*words: Path | str):
    found = run(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three models of the same images, each with more noise than the one before."""
    paths = []
    for i, name in enumerate(("good", "fair", "bad")):
        noise = numpy.random.default_rng(i).normal(size=DATA.features.shape)
        paths.append(tmp_path / f"{name}.npz")
        numpy.savez(paths[-1], features=DATA.features + 3 * i * noise, labels=NAMES)
    return paths


@pytest.mark.parametrize("nested", ["array", "list"])
def test_score_as_json_is_that_of_the_library(tmp_path: Path, nested: str) -> None:
    path = tmp_path / "features.parquet"
    table(nested).write_parquet(path)
    found = told(path, "--methods", "h_score,leep")
    assert found["ranking"] is None
    first, second = found["scores"]
    assert list(first) == [
        "model", "method", "variant", "value", "rank", "reason", "low", "high", "seconds",
    ]  # fmt: skip
    assert first["model"] == "features"
    assert first["value"] == pytest.approx(scores.h_score(DATA.features, DATA.labels))
    assert second["value"] == pytest.approx(scores.leep(DATA.source_probabilities, DATA.labels))


def test_score_of_names_is_that_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    table().with_columns(label=polars.Series(NAMES)).write_parquet(path)
    (found,) = told(path, "--methods", "h_score")["scores"]
    assert found["value"] == pytest.approx(scores.h_score(DATA.features, DATA.labels))


def test_score_for_a_person_shows_reasons(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    table().drop("source_probability").write_parquet(path)
    found = run(path, "--methods", "knn, leep", "--bootstrap-samples", "20")
    assert found.exit_code == 0, found.output
    assert "no source head" in found.output
    assert "low" in found.output


def test_score_without_methods_takes_what_the_file_allows(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    table().write_parquet(path)
    whole = told(path)
    table().drop("source_probability").write_parquet(path)
    part = told(path)
    methods = {row["method"] for row in whole["scores"]}
    assert methods - {row["method"] for row in part["scores"]} == {"leep", "nce"}
    assert not [row for row in whole["scores"] + part["scores"] if row["value"] is None]
    left_out = {name for names in part["left_out"].values() for name in names}
    assert left_out >= {"leep", "nce", "lgc", "rsa", "domain_similarity", "parameters"}
    assert left_out | methods == set(scores.METHODS) - {"random"} | {"leep", "nce"}
    assert "left out: leep, nce (needs probabilities of the source head" in run(path).stderr


def test_score_of_several_files_ranks_their_models(three: list[Path]) -> None:
    found = told(*three, "--methods", "h_score,logme")
    assert [row["model"] for row in found["ranking"]] == ["good", "fair", "bad"]
    own = {row["model"]: row for row in found["scores"] if row["method"] == "h_score"}
    values = [scores.h_score(numpy.load(path)["features"], DATA.labels) for path in three]
    assert [own[path.stem]["value"] for path in three] == pytest.approx(values)
    assert [own[path.stem]["rank"] for path in three] == rankdata([-v for v in values]).tolist()
    # ETran has a value among several models only: one row each, no parts.
    found = told(*three, "--methods", "etran")
    assert [row["variant"] for row in found["scores"]] == [""] * 3
    printed = run(*three, "--methods", "h_score,logme").stdout
    assert printed.splitlines()[1].split() == ["good", "1", "2"]
    assert "good stands first: mean rank 1 over 2 scores. This is a ranking by scores" in printed


def test_score_that_one_file_does_not_allow_is_not_counted(three: list[Path]) -> None:
    arrays = dict(numpy.load(three[2]))
    numpy.savez(three[2], source_probabilities=DATA.source_probabilities, **arrays)
    found = told(*three)
    assert [r["model"] for r in found["scores"] if r["method"] == "leep"] == ["bad"]
    counted = {row["method"] for row in found["scores"] if row["variant"] == ""}
    assert {row["scores"] for row in found["ranking"]} == {len(counted - {"leep", "nce"})}


def test_scores_of_equal_files_are_level(three: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "twin.npz"
    twin.write_bytes(three[0].read_bytes())
    printed = run(three[0], twin, "--methods", "logme").stdout
    assert "good and twin stand first, level: mean rank 1.5 over 1 score." in printed


def test_scores_of_files_of_one_name_are_told_apart_by_folder(three, tmp_path: Path) -> None:
    paths = []
    for path in three[:2]:
        paths.append(tmp_path / path.stem / "features.npz")
        paths[-1].parent.mkdir()
        path.rename(paths[-1])
    assert [r["model"] for r in told(*paths, "--methods", "logme")["ranking"]] == ["good", "fair"]


def test_score_of_other_images_or_one_file_twice_is_refused(three, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    numpy.savez(other, features=DATA.features[1:], labels=NAMES[1:])
    assert "are of other images" in str(run(three[0], other).exception)
    assert "given twice" in str(run(three[0], three[0]).exception)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("label"), "but not label"),
        (lambda t: t.drop("feature"), "but not feature"),
        (lambda t: t.with_columns(label=polars.col("label") + 0.5), "expected classes"),
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


def test_score_of_no_file_says_what_is_there(tmp_path: Path) -> None:
    assert "no such file" in str(run(tmp_path / "none.parquet").exception)
    assert "is a folder" in str(run(tmp_path).exception)


@pytest.mark.parametrize("methods", ["", " , "])
def test_score_of_no_method_says_so(tmp_path: Path, methods: str) -> None:
    path = tmp_path / "features.parquet"
    table().write_parquet(path)
    assert "names no score" in str(run(path, "--methods", methods).exception)
    assert run(path, "--methods", "knn,").exit_code == 0


def test_score_of_an_unknown_method_names_the_nearest(three: list[Path]) -> None:
    found = run(three[0], "--methods", "knn,lcf")
    assert "unknown score 'lcf' (did you mean 'lfc'?)" in str(found.exception)


def test_score_of_labels_that_look_like_quantities_notes_it(tmp_path: Path) -> None:
    ages = 20 + numpy.arange(len(DATA.labels)) % 15
    numpy.savez(tmp_path / "ages.npz", features=DATA.features, labels=ages)
    for words in ((), ("--json",)):
        found = run(tmp_path / "ages.npz", "--methods", "lfc", *words)
        assert found.exit_code == 0
        assert "note: its 15 classes are whole numbers from 20 to 34" in found.stderr or words
    assert json.loads(found.stdout)["scores"][0]["method"] == "lfc"
