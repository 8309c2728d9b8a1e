"""Advice: it names one model only where its interval stands apart, and says why it may be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import polars
import pytest
from study_rows import gathered, job, study
from typer.testing import CliRunner

from xferpipe.aggregate.advice import Trust, advise, choose_score
from xferpipe.cli import application
from xferpipe.records import frame


def scored(values: dict[str, tuple[float | None, float | None, float | None]]) -> polars.DataFrame:
    return frame(
        "scores",
        [
            {
                "target": "t",
                "shots": "full",
                "model": model,
                "method": "lfc",
                "variant": "",
                "value": value,
                "reason": None if value is not None else "the features are the same",
                "low": low,
                "high": high,
            }
            for model, (value, low, high) in values.items()
        ],
    )


ZOO = frame(
    "zoo",
    [
        {"model": "a", "licence": "MIT", "source": "birds", "source_licence": "CC-BY-4.0"},
        {"model": "b"},
    ],
)


def advice_on(values, **options):
    return advise(scored(values), ZOO, Trust("lfc"), "t", "full", {}, **options)


def test_advice_names_one_model_where_its_interval_stands_apart() -> None:
    found = advice_on({"b": (0.5, 0.45, 0.55), "a": (0.9, 0.85, 0.95)})
    assert found.first == ["a"]
    assert found.abstains is None
    assert found.models[0]["licence"] == "MIT"
    assert found.models[0]["source_licence"] == "CC-BY-4.0"
    assert found.models[1]["licence"] is None


def test_advice_abstains_where_intervals_overlap() -> None:
    found = advice_on({"b": (0.8, 0.7, 0.9), "a": (0.9, 0.85, 0.95)})
    assert found.first == ["a", "b"]
    assert "overlap" in found.abstains


def test_advice_abstains_without_intervals() -> None:
    found = advice_on({"b": (0.8, None, None), "a": (0.9, None, None)})
    assert "no intervals" in found.abstains


def test_advice_widens_intervals_for_many_comparisons() -> None:
    two = {"a": (0.9, 0.85, 0.95), "b": (0.79, 0.75, 0.83)}
    assert advice_on(two).first == ["a"]
    many = two | {f"m{i}": (0.1, 0.05, 0.15) for i in range(40)}
    found = advice_on(many)
    assert found.first == ["a", "b"]
    assert any("widened for 41 comparisons" in warning for warning in found.warnings)


def test_advice_names_models_without_a_score() -> None:
    found = advice_on({"a": (0.9, 0.8, 1.0), "c": (None, None, None)})
    assert any("c has no score: the features" in warning for warning in found.warnings)


def test_advice_on_an_unknown_target_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'x' .* scored: t \(full\)"):
        advise(scored({"a": (1, 0, 2)}), ZOO, Trust("lfc"), "x", "full", {})


def selection(rows: list[tuple[str, str, float]]) -> polars.DataFrame:
    return frame(
        "selection",
        [
            {
                "target": target,
                "shots": "full",
                "recipe": "r",
                "metric": "accuracy",
                "method": method,
                "variant": "",
                "spearman": value,
            }
            for target, method, value in rows
        ],
    )


def test_choice_of_score_does_not_look_at_the_target() -> None:
    table = selection([("t", "lfc", 1.0), ("u", "lfc", 0.1), ("t", "knn", 0.0), ("u", "knn", 0.6)])
    assert choose_score(table, "t", "full") == Trust("knn", "", 1, 0.6, 2)
    assert choose_score(table, "u", "full").method == "lfc"


def test_choice_without_other_targets_is_lfc_with_nothing_known() -> None:
    found = choose_score(selection([("t", "knn", 1.0)]), "t", "full")
    assert (found.method, found.spearman) == ("lfc", None)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("advice")
    gathered(job(), study(folder), folder / "tables")
    return folder / "tables"


def run(*words: str):
    return CliRunner().invoke(application(), ["recommend", *words])


def test_recommend_prints_the_order_the_licences_and_its_doubts(tables: Path) -> None:
    found = run("t", "--tables", str(tables))
    assert found.exit_code == 0, found.output
    assert "by lfc: rank correlation 1.00 with fine-tuning on 1 other targets" in found.output
    assert "No single model is recommended: the score has no intervals here" in found.output
    assert "MIT" in found.output
    assert "Licence of the images of t: CC BY-NC 4.0" in found.output
    assert "check it" in found.output


def test_recommend_shows_that_a_target_states_no_licence(tables: Path) -> None:
    found = run("u", "--tables", str(tables))
    assert "Licence of the images of u: -" in found.output
    assert "check it" in found.output


def test_recommend_as_json_is_one_object(tables: Path) -> None:
    found = CliRunner().invoke(
        application(), ["recommend", "t", "--tables", str(tables), "--method", "lfc", "--json"]
    )
    advice = json.loads(found.stdout)
    assert [row["model"] for row in advice["models"]] == ["e", "d", "c", "b", "a"]
    assert advice["models"][0]["metric"] > 0.8
    assert advice["target_licence"] == "CC BY-NC 4.0"


def test_recommend_takes_results_of_the_users_own(tables: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("target,model,accuracy\nt,e,0.99\nv,a,0.9\nv,b,0.8\nv,c,0.7\nv,d,0.6\n")
    found = CliRunner().invoke(
        application(),
        ["recommend", "t", "--tables", str(tables), "--own-results", str(own), "--json"],
    )
    advice = json.loads(found.stdout)
    assert advice["models"][0]["metric"] == 0.99
