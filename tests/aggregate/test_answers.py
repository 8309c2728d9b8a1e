"""Table `answers` from gathered tables, and what `xferpipe recommend` says of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars
import pytest
from study_rows import MODELS, gathered, job, study, write
from typer.testing import CliRunner

from xferpipe.aggregate.answers import MOST, answers, places_of
from xferpipe.aggregate.earlier import Earlier
from xferpipe.aggregate.measured import measured, shown_figures
from xferpipe.cli import application
from xferpipe.evidence.answers import Asked
from xferpipe.records import frame, load_table, read_table, write_table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "made_up" / "tables"
    gathered(job(reference_model="c"), study(folder.parent), folder)
    return folder


def recommend(*words: str):
    return CliRunner().invoke(application(), ["recommend", *words])


def told(*words: str) -> dict:
    found = recommend(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_every_pair_of_every_target_has_a_row(tables: Path) -> None:
    table = load_table("answers", tables)
    assert table.group_by("target").len().sort("target").rows() == [("t", 10), ("u", 10)]
    assert table["compared"].all()
    sums = table.group_by("target").agg(polars.col("probability_best").sum())
    assert sums["probability_best"].to_numpy() == pytest.approx(1)
    assert table["reference"].unique().to_list() == ["c"]
    assert table["metric"].unique().to_list() == ["accuracy"]


def test_best_model_leads_and_gains_over_the_reference(tables: Path) -> None:
    # Each model is better than the one before by 0.08, run twice with two recipes.
    (row,) = load_table("answers", tables).filter("pick", target="t").rows(named=True)
    assert row["model"] == "e"
    assert row["chosen_on"] == "validation"
    assert row["gain_reference_low"] < 0.16 < row["gain_reference_high"]
    # All models of the made-up study are drawn at random: the best of them is the base.
    assert row["gain_random"] == 0


def test_recommend_shows_the_table_and_says_what_the_report_says(tables: Path) -> None:
    found = recommend("t", "--results", str(tables))
    assert found.exit_code == 0, found.output
    for words in (
        "with recipe",
        "an unknown number of images",
        "Licence of the images of t: CC BY",
    ):
        assert words in found.output
    assert "check it" in found.output
    assert "Licence of the images of u: -" in recommend("u", "--results", str(tables)).output


def test_recommend_as_json_has_the_rows_of_the_table(tables: Path) -> None:
    found = told("t", "--results", str(tables))
    table = load_table("answers", tables).filter(target="t")
    assert found["pick"] == table.filter("pick").select("model", "recipe").to_dicts()[0]
    assert [row["mean"] for row in found["pairs"]] == pytest.approx(table["mean"].to_list())
    assert found["target_licence"] == "CC BY-NC 4.0"
    assert found["top"] == table.filter("top").select("model", "recipe").to_dicts()


def test_recommend_of_an_unknown_target_names_those_there_are(tables: Path) -> None:
    found = recommend("x", "--results", str(tables))
    assert str(found.exception).endswith("there are: t (full), u (full)")


def test_answers_made_anew_from_the_same_tables_are_the_same(tables: Path) -> None:
    stored = load_table("answers", tables)
    asked = dict.fromkeys(places_of(tables), Asked(reference="c"))
    again = answers(tables, asked, recipes={}, own=None, earlier=Earlier(tables, "made_up", []))
    assert again.equals(stored)


def test_own_results_enter_the_order(tables: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    rows = [f"t,a,own,{seed},0.99,0.99" for seed in range(3)]
    own.write_text("\n".join(["target,model,recipe,seed,accuracy,validation", *rows]))
    assert told("t", "--results", str(tables))["pick"]["model"] == "e"
    found = told("t", "--results", str(tables), "--own-results", str(own))
    assert found["pick"] == {"model": "a", "recipe": "own"}
    assert found["pairs"][0]["test"] == pytest.approx(0.99)


def test_own_results_of_the_test_split_alone_are_shown_and_choose_nothing(
    tables: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.csv"
    own.write_text("target,model,accuracy\nt,a,0.99\n")
    found = told("t", "--results", str(tables), "--own-results", str(own))
    assert found["pick"]["model"] == "e"
    (row,) = [row for row in found["pairs"] if (row["model"], row["recipe"]) == ("a", "own")]
    assert (row["test"], row["runs"], row["compared"]) == (0.99, 0, False)
    printed = recommend("t", "--results", str(tables), "--own-results", str(own)).output
    assert "1 pairs have test figures alone" in printed


@pytest.fixture(scope="module")
def costed(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tables with models a to e that take 10 to 50 ms an image."""
    folder = tmp_path_factory.mktemp("costed") / "made_up" / "tables"
    shutil.copytree(tables, folder)
    zoo = load_table("zoo", tables)
    times = polars.Series("milliseconds", [10.0 * (i + 1) for i in range(zoo.height)])
    write_table("zoo", zoo.with_columns(times), folder / "zoo.parquet")
    return folder


def test_answer_with_models_left_out_is_that_of_a_study_without_them(
    costed: Path, tmp_path: Path
) -> None:
    files = study(tmp_path)
    for name in ("zoo", "scores", "finetunes", "epochs"):
        files[name] = [
            path for path in files[name] if not {"d", "e"} & {path.stem, *path.parts[-5:]}
        ]
    gathered(job(reference_model="c"), files, tmp_path / "made_up" / "tables")
    alone = load_table("answers", tmp_path / "made_up" / "tables").filter(target="t")
    found = told("t", "--results", str(costed), "--max-ms", "30", "--no-shipped-history")
    assert found["left_out"] == ["d", "e"]
    assert found["pick"] == alone.filter("pick").select("model", "recipe").to_dicts()[0]
    assert found["pick"]["model"] == "c"
    # What the other target says of all models stays known, which moves the last digits.
    for name in ("mean", "low", "high", "probability_best", "gain_reference"):
        shown = [row[name] for row in found["pairs"]]
        assert shown == pytest.approx(alone[name].to_list(), abs=2e-3), name


def test_limit_that_leaves_nothing_out_leaves_the_answer_as_it_is(costed: Path) -> None:
    found = told("t", "--results", str(costed), "--max-ms", "50")
    assert found == told("t", "--results", str(costed))
    assert (found["left_out"], found["pick"]["model"]) == ([], "e")


def test_recommend_with_a_limit_says_what_it_left_out_and_shows_the_cost(costed: Path) -> None:
    printed = recommend("t", "--results", str(costed), "--max-ms", "30").output
    assert "Left out: 2 of 5 models, which cost more than 30 ms an image" in printed
    assert re.search(r"^model .* ms an image ", printed, re.MULTILINE)
    assert re.search(r"^b +slow .* 20 ", printed, re.MULTILINE)
    found = recommend("t", "--results", str(costed), "--max-ms", "5")
    assert "the least that they cost is --max-ms 10" in str(found.exception)


def test_limit_on_what_nobody_measured_leaves_nothing_out_and_says_so(tables: Path) -> None:
    printed = recommend("t", "--results", str(tables), "--max-gmacs", "1").output
    assert "No cost is known" in printed
    assert told("t", "--results", str(tables), "--max-gmacs", "1")["pick"]["model"] == "e"


def test_reference_that_a_limit_leaves_out_gives_way_to_the_median(costed: Path) -> None:
    found = told("t", "--results", str(costed), "--max-ms", "20")
    assert found["left_out"] == ["c", "d", "e"]
    assert found["reference"] == "median"


def only_scored(folder: Path, targets: tuple[str, ...] = ("u",)) -> Path:
    """Gather the study without the fine-tunes of some targets."""
    files = study(folder)
    files["finetunes"] = [
        path for path in files["finetunes"] if not any(f"/runs/{t}/" in str(path) for t in targets)
    ]
    gathered(job(), files, folder / "tables")
    return folder / "tables"


def test_recommend_without_any_run_says_that_nothing_is_known(tmp_path: Path) -> None:
    folder = only_scored(tmp_path, ("t", "u"))
    found = told("u", "--results", str(folder))
    assert found["basis"] == "nothing"
    assert (found["pick"], found["top"], found["next"]) == (None, [], None)
    assert [row["model"] for row in found["pairs"]] == list(MODELS)
    printed = recommend("u", "--results", str(folder))
    assert "nothing is known" in printed.output
    assert "stand in no order" in printed.output


def history(folder: Path, figures: dict[str, list[float]]) -> Path:
    """Write a history of four targets, each of a source of its own, on which models were run."""
    rows = [
        {"schema": 1, "study": "earlier", "target": f"h{i}", "shots": "full", "source": f"h{i}"}
        | {"model": model, "kind": "run", "name": "slow", "seed": seed, "metric": "accuracy"}
        | {"value": values[i] + 0.002 * seed, "images": 2000}
        for model, values in figures.items()
        for i in range(4)
        for seed in range(2)
    ]
    return write("history", rows, folder / "history.parquet")


def test_recommend_with_a_history_gives_an_order_and_says_what_it_is(tmp_path: Path) -> None:
    folder = only_scored(tmp_path, ("t", "u"))
    order = "caebd"
    levels = {m: [0.9 - 0.05 * k - 0.01 * i for i in range(4)] for k, m in enumerate(order)}
    path = history(tmp_path, levels)
    alone = ("--results", str(folder), "--history", str(path), "--no-shipped-history")
    found = told("u", *alone)
    assert found["basis"] == "history"
    assert found["pick"] is None
    assert "".join(row["model"] for row in found["pairs"]) == order
    assert found["next"]["model"] == "c"
    printed = recommend("u", *alone).output
    assert "not run yet. Nothing was fine-tuned on it. By scores and earlier targets" in printed


def test_history_of_this_very_study_is_left_out(tables: Path, tmp_path: Path) -> None:
    rows = read_table("history", history(tmp_path, {m: [0.9] * 4 for m in MODELS}))
    own = tmp_path / "own.parquet"
    write_table("history", rows.with_columns(study=polars.lit("made_up")), own)
    asked = dict.fromkeys(places_of(tables), Asked(reference="c"))
    again = answers(tables, asked, recipes={}, own=None, earlier=Earlier(tables, "made_up", [own]))
    assert again.equals(load_table("answers", tables))


def test_race_is_compared_over_its_candidates_by_its_own_rules(tmp_path: Path) -> None:
    files = study(tmp_path, targets=("t",), recipes=("slow",))
    place = {"target": "t", "shots": "full", "round": 0}
    rows = [place | {"model": m, "recipe": r} for m in ("d", "e") for r in ("slow", "new")]
    files["decisions"] = [write("decisions", rows, tmp_path / "decision.parquet")]
    race = {"targets": ["t"], "models": ["d", "e"], "recipes": ["slow", "new"]}
    race |= {"budget": {"runs": 9}, "confidence": 0.8, "indifference": 0.03}
    made = type(job())(**job().model_dump() | {"races": [race]})
    gathered(made, files, tmp_path / "tables")
    table = load_table("answers", tmp_path / "tables")
    assert table.select("confidence", "indifference").unique().rows() == [(0.8, 0.03)]
    untried = table.filter(recipe="new").sort("model").select("model", "compared").rows()
    assert untried == [("a", False), ("b", False), ("c", False), ("d", True), ("e", True)]


def test_large_zoo_is_listed_with_the_commonest_recipe(tmp_path: Path) -> None:
    files = study(tmp_path, targets=("t",), seeds=(0,))
    zoo = [{"model": f"m{i}", "weights": "timm"} for i in range(MOST)]
    files["zoo"].append(write("zoo", zoo, tmp_path / "more.parquet"))
    gathered(job(), files, tmp_path / "tables")
    table = load_table("answers", tmp_path / "tables")
    assert table.height == 10 + MOST
    assert table.filter(~polars.col("compared"))["recipe"].unique().to_list() == ["fast"]


def run_files(folder: Path, **about) -> None:
    """Write the tables of one run of model m on target t."""
    run = {"target": "t", "shots": "full", "model": "m", "recipe": "r", "seed": 0}
    rows = {"finetunes": [run | {"status": "finished"} | about.pop("finetune")]}
    rows |= {name: [run | line for line in lines] for name, lines in about.items()}
    for name in ("finetunes", "class_recalls", "retrieval", "retrieval_queries", "predictions"):
        write_table(name, frame(name, rows.get(name, [])), folder / f"{name}.parquet")
    queries = rows.get("validation_queries", [])
    write_table("validation_queries", frame("validation_queries", queries), folder / "q.parquet")
    (folder / "q.parquet").rename(folder / "validation_queries.parquet")


def test_images_of_a_balanced_accuracy_count_as_its_rarest_class_allows(tmp_path: Path) -> None:
    recalls = [
        {"split": "test", "label": label, "images": images, "recall": recall}
        for label, images, recall in ((0, 90, 0.9), (1, 10, 0.5))
    ]
    about = {"task": "classification", "judged_by": "balanced_accuracy", "test_images": 100}
    run_files(tmp_path, finetune=about | {"test_balanced_accuracy": 0.7}, class_recalls=recalls)
    (row,) = shown_figures(tmp_path).rows(named=True)
    # Variance (0.9 0.1 / 90 + 0.5 0.5 / 10) / 4 = 0.0065: of a share of 0.7 with 32.3 images.
    assert row["effective_images"] == pytest.approx(0.21 / 0.0065)
    assert (row["test"], row["test_images"]) == (0.7, 100)


def test_queries_of_a_retrieval_run_count_by_the_spread_of_their_precision(tmp_path: Path) -> None:
    queries = [
        {"query": i, "identity": i, "ap": ap, "reranked": False, "draw": 0}
        for i, ap in enumerate((0.4, 0.6, 0.5, None))
    ]
    run_files(
        tmp_path,
        finetune={"task": "retrieval", "judged_by": "map"},
        retrieval=[{"map": 0.5, "reranked": False}],
        retrieval_queries=queries,
    )
    (row,) = shown_figures(tmp_path).rows(named=True)
    # Variance of a precision 0.01, of the mean of three 0.01 / 3, of p (1 - p) 0.04 / 3; held with
    # the one group of the prior: (1 / 3 + 2 * 0.04 / 3) / 3.
    answers = pytest.approx(3 / (1 / 3 + 0.08 / 3))
    assert (row["test_images"], row["effective_images"]) == (3, answers)
    found = measured(tmp_path, "t", "full", shown_figures(tmp_path), None)
    assert (found.metric, found.chosen_on) == ("map", "test")
    # Nothing was held out: queries of the test split stand for it, image by image.
    (run,) = found.runs.rows(named=True)
    assert (run["validation"], run["images"]) == (0.5, 3)
    assert run["outcomes"] == [0.4, 0.6, 0.5]


def test_validation_outcomes_of_a_run_come_with_it(tmp_path: Path) -> None:
    shown = [
        {"split": split, "row": row, "label": 1, "predicted": predicted}
        for split, row, predicted in (("validation", 1, 1), ("validation", 0, 0), ("test", 2, 1))
    ]
    about = {"task": "classification", "judged_by": "accuracy", "test_images": 1}
    figures = {"validation_accuracy": 0.5, "test_accuracy": 1.0, "seconds": 3.0}
    run_files(tmp_path, finetune=about | figures, predictions=shown)
    found = measured(tmp_path, "t", "full", shown_figures(tmp_path), None)
    (run,) = found.runs.rows(named=True)
    assert (run["validation"], run["outcomes"], run["images"]) == (0.5, [0.0, 1.0], 2)
    assert (run["test"], run["test_images"], found.chosen_on) == (1.0, 1, "validation")
