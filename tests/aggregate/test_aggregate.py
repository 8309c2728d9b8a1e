"""The aggregate stage on a made-up study whose right answers can be told by hand."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest
from study_rows import MODELS, gathered, job, study, write

from xferpipe.aggregate.by_model import by_model
from xferpipe.aggregate.oracle import oracle, own_results
from xferpipe.aggregate.pools import normalise_pools
from xferpipe.records import RecordError, frame, read_table
from xferpipe.records.stamp import Stamp, read_stamp, stamping


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, polars.DataFrame]:
    folder = tmp_path_factory.mktemp("study")
    output = folder / "tables"
    gathered(job(reference_model="c"), study(folder), output)
    return {name: read_table(name, output / f"{name}.parquet") for name in written()}


def written() -> list[str]:
    gathered = ["zoo", "epochs", "scores", "finetunes", "retrieval"]
    gathered += ["retrieval_queries", "ranked_lists"]
    return [
        *gathered,
        "selection",
        "gains",
        "choices",
        "best_scores",
        "efficiency",
        "runtime",
        "targets",
    ]


def row(table: polars.DataFrame, **values) -> dict:
    found = table.filter(*(polars.col(name) == value for name, value in values.items()))
    assert found.height == 1, found
    return found.row(0, named=True)


RUN = {"target": "t", "shots": "full", "recipe": "slow"}


def test_aggregate_counts_every_row_once(tables) -> None:
    assert tables["finetunes"].height == 2 * 5 * 2 * 2
    assert tables["scores"].height == 2 * 5 * 3
    assert tables["epochs"].height == 4 * tables["finetunes"].height
    assert tables["ranked_lists"].height == 0


def test_aggregate_fills_in_licences(tables) -> None:
    licences = dict(zip(tables["zoo"]["model"], tables["zoo"]["licence"], strict=True))
    assert licences["a"] == "MIT"
    assert licences["b"] is None
    assert row(tables["zoo"], model="b")["source_licence"] == "CC-BY-4.0"
    assert tables["targets"].rows() == [
        ("t", "moths", "classification", "CC BY-NC 4.0"),
        ("u", "bees", "retrieval", None),
    ]


def test_selection_of_a_score_in_the_right_order_is_perfect(tables) -> None:
    found = row(tables["selection"], method="lfc", **RUN)
    assert (found["spearman"], found["kendall"], found["weighted_kendall"]) == (1, 1, 1)
    assert (found["trials"], found["regret"]) == (1, 0)
    assert found["top_model"] == found["best_model"] == "e"
    # Five scores of 1 s, five feature passes of 2 s.
    assert found["seconds"] == pytest.approx(15)


def test_selection_tries_models_without_a_score_last(tables) -> None:
    found = row(tables["selection"], method="leep", **RUN)
    assert found["models"] == 4
    assert found["spearman"] == -1
    assert found["trials"] == 5
    assert found["best_model"] == "e"


def test_selection_of_a_constant_score_is_null_and_its_gains_random(tables) -> None:
    found = row(tables["selection"], method="parameters", **RUN)
    assert found["spearman"] is None
    assert "same for all models" in found["reason"]
    assert found["trials"] == 3
    # No feature pass is needed to count parameters.
    assert found["seconds"] == pytest.approx(5)
    for k in range(1, 6):
        constant = row(tables["gains"], method="parameters", k=k, **RUN)
        random = row(tables["gains"], method="random", k=k, **RUN)
        assert constant["gain"] == pytest.approx(random["gain"])


def test_gains_count_from_the_reference_model(tables) -> None:
    mean = by_model_values(tables, "slow")
    found = row(tables["gains"], method="lfc", k=1, **RUN)
    assert found["gain"] == pytest.approx(mean["e"] - mean["c"])
    assert found["gain"] == found["best_gain"]
    assert found["relative"] == 1
    assert found["seconds"] == pytest.approx(15 + 10)
    brute = row(tables["gains"], method="random", k=5, **RUN)
    assert brute["seconds"] == pytest.approx(50)
    assert brute["relative"] == pytest.approx(1)


def by_model_values(tables, recipe: str) -> dict[str, float]:
    own = tables["finetunes"].filter(polars.col("target") == "t", polars.col("recipe") == recipe)
    mean = own.group_by("model").agg(polars.col("test_accuracy").mean())
    return dict(mean.iter_rows())


def test_selection_has_each_model_at_its_best_recipe_by_validation(tables) -> None:
    assert set(tables["selection"]["recipe"]) == {"slow", "fast", "best", "best_on_test"}


def test_noise_ceiling_of_five_models_is_not_estimable(tables) -> None:
    """Five models in one order twice: by chance in 1 of 60, and the interval covers 0."""
    own = tables["finetunes"].filter(polars.col("target") == "t", polars.col("recipe") == "slow")
    seeds = [own.filter(polars.col("seed") == s).sort("model")["test_accuracy"] for s in (0, 1)]
    expected = polars.select(polars.corr(*seeds, method="spearman")).item()
    found = row(tables["selection"], method="noise_ceiling", **RUN)
    assert found["reliability"] == pytest.approx(expected)
    assert found["spearman"] is None
    assert "not estimable" in found["reason"]
    assert found["trials"] is None


def test_choices_leave_the_target_out(tables) -> None:
    found = row(tables["choices"], **RUN)
    assert (found["method"], found["targets"]) == ("lfc", 1)
    # One swap of neighbours among five models: 1 - 6 x 2 / (5 x 24).
    assert (found["spearman"], found["spearman_elsewhere"]) == (1, pytest.approx(0.9))
    assert (
        found["spearman_elsewhere"]
        == row(tables["selection"], method="lfc", **(RUN | {"target": "u"}))["spearman"]
    )


def test_efficiency_sets_the_search_of_the_reference_beside_the_zoo(tables) -> None:
    search = tables["efficiency"].filter(
        polars.col("strategy") == "search", polars.col("target") == "t"
    )
    slow, fast = by_model_values(tables, "slow")["c"], by_model_values(tables, "fast")["c"]
    assert search["runs"].to_list() == [1, 2]
    assert search["value"].to_list() == pytest.approx([(slow + fast) / 2, max(slow, fast)])
    assert search["seconds"].to_list() == pytest.approx([10, 20])


def test_runtime_reads_benchmarks_with_missing_samples(tables) -> None:
    assert tables["runtime"].row(0, named=True) == {
        "stage": "finetune",
        "job": "t/full",
        "seconds": 3.5,
        "cpu_seconds": 2.25,
        "peak_mib": None,
    }


def test_tables_carry_the_key_of_the_job(tmp_path: Path) -> None:
    stamp = Stamp("abc", "aggregate", "{}", "code", "{}")
    with stamping(stamp):
        gathered(job(), study(tmp_path), tmp_path / "out")
    for name in written():
        assert read_stamp(tmp_path / "out" / f"{name}.parquet") == stamp
        assert read_table(name, tmp_path / "out" / f"{name}.parquet", ours=True) is not None


def test_aggregate_is_the_same_twice(tmp_path: Path) -> None:
    files = study(tmp_path)
    for name in ("one", "two"):
        gathered(job(), files, tmp_path / name)
    for name in written():
        one, two = (read_table(name, tmp_path / f / f"{name}.parquet") for f in ("one", "two"))
        assert one.equals(two), name


def test_aggregate_of_another_table_names_the_file(tmp_path: Path) -> None:
    files = study(tmp_path)
    files["scores"] = files["zoo"][:1]
    with pytest.raises(RecordError, match=r"a.parquet: expected table scores"):
        gathered(job(), files, tmp_path / "out")


def test_aggregate_without_scores_or_runs_writes_empty_tables(tmp_path: Path) -> None:
    files = {name: [] for name in study(tmp_path)}
    gathered(job(), files, tmp_path / "out")
    assert read_table("selection", tmp_path / "out" / "selection.parquet").height == 0


def test_retrieval_targets_are_judged_by_map(tmp_path: Path) -> None:
    files = study(tmp_path)
    rows = []
    for target, model, recipe, seed in [
        (t, m, r, s) for t in ("t",) for m in MODELS for r in ("slow",) for s in (0,)
    ]:
        key = {"target": target, "shots": "full", "model": model, "recipe": recipe, "seed": seed}
        figure = 0.9 - 0.1 * MODELS.index(model)
        rows += [key | {"map": figure, "reranked": False}, key | {"map": 0.99, "reranked": True}]
    files["retrieval"] = [write("retrieval", rows, tmp_path / "retrieval.parquet")]
    gathered(job(), files, tmp_path / "out")
    selection = read_table("selection", tmp_path / "out" / "selection.parquet")
    found = row(selection, method="lfc", metric="map", **RUN)
    assert found["spearman"] == -1
    assert found["regret"] == pytest.approx(0.4)


def test_diverged_runs_are_no_oracle(tmp_path: Path) -> None:
    files = study(tmp_path)
    path = tmp_path / "diverged.parquet"
    bad = {
        "target": "t",
        "shots": "full",
        "model": "a",
        "recipe": "slow",
        "seed": 9,
        "task": "classification",
        "judged_by": "accuracy",
        "status": "diverged",
        "reason": "loss is NaN",
        "test_accuracy": 1.0,
    }
    files["finetunes"].append(write("finetunes", [bad], path))
    gathered(job(), files, tmp_path / "out")
    assert 9 not in oracle(job().selection, tmp_path / "out")["seed"]


def test_runs_are_judged_by_the_figure_that_their_row_names(tmp_path: Path) -> None:
    files = study(tmp_path)
    run = {"target": "v", "shots": "full", "model": "a", "recipe": "slow", "seed": 0}
    figures = {"accuracy": 0.9, "balanced_accuracy": 0.7, "macro_f1": 0.6}
    for judged_by in figures:
        values = {f"test_{name}": value for name, value in figures.items()}
        values |= {f"validation_{name}": value + 0.01 for name, value in figures.items()}
        line = run | {"target": judged_by, "judged_by": judged_by} | values
        line |= {"task": "classification", "status": "finished", "seconds": 1.0}
        files["finetunes"].append(write("finetunes", [line], tmp_path / f"{judged_by}.parquet"))
    gathered(job(), files, tmp_path / "out")
    found = oracle(job().selection, tmp_path / "out").filter(polars.col("target").is_in(figures))
    assert found.select("target", "metric", "value", "validation").rows() == [
        (name, name, value, value + 0.01) for name, value in figures.items()
    ]


def test_gains_are_over_redraws_of_seeds_and_of_the_images_that_were_predicted(
    tmp_path: Path,
) -> None:
    files = study(tmp_path)
    run = {"target": "t", "shots": "full", "seed": 0, "split": "test", "label": 1}
    rows = [
        run | {"model": model, "recipe": recipe, "row": image, "predicted": int(image > 4 - i)}
        for i, model in enumerate(MODELS)
        for recipe in ("slow", "fast")
        for image in range(10)
    ]
    files["predictions"] = [write("predictions", rows, tmp_path / "predictions.parquet")]
    gathered(job(), files, tmp_path / "out")
    gains = read_table("gains", tmp_path / "out" / "gains.parquet")
    seen = gains.filter(polars.col("target") == "t")
    assert seen["redrawn"].unique().to_list() == ["seeds and images"]
    other = gains.filter(polars.col("target") == "u")
    assert other["redrawn"].unique().to_list() == ["seeds"]
    # Ten images say much less than the 0.003 of two seeds.
    width = [(part["best_of_k_high"] - part["best_of_k_low"]).mean() for part in (seen, other)]
    assert width[0] > 10 * width[1]


def test_retrieval_recipe_is_chosen_by_map_of_held_out_identities(tmp_path: Path) -> None:
    """By class accuracy the other recipe would be taken, which is the worse one on the gallery."""
    files = study(tmp_path)
    files.setdefault("retrieval", [])
    for model in "ab":
        for recipe, found, validation, accuracy in (("p", 0.6, 0.5, 0.1), ("q", 0.3, 0.2, 0.9)):
            run = {"target": "cars", "shots": "full", "model": model, "recipe": recipe, "seed": 0}
            line = run | {"task": "retrieval", "judged_by": "map", "status": "finished"}
            line |= {"validation_map": validation, "validation_accuracy": accuracy, "seconds": 1.0}
            ranked = run | {"reranked": False, "map": found, "seconds": 1.0}
            place = tmp_path / f"{model}{recipe}"
            files["finetunes"].append(write("finetunes", [line], place / "run.parquet"))
            files["retrieval"].append(write("retrieval", [ranked], place / "map.parquet"))
    gathered(job(), files, tmp_path / "out")
    runs = oracle(job().selection, tmp_path / "out")
    # A second of training and one of ranking.
    assert runs.filter(target="cars")["seconds"].to_list() == [2.0] * 4
    found = by_model(runs).filter(target="cars", recipe="best")
    assert found.select("model", "metric", "value", "validation").rows() == [
        ("a", "map", 0.6, 0.5),
        ("b", "map", 0.6, 0.5),
    ]


def test_own_results_count_as_the_oracle(tmp_path: Path) -> None:
    files = study(tmp_path)
    files["finetunes"] = []
    lines = [f"t,{model},{0.9 - 0.1 * i}" for i, model in enumerate(MODELS)]
    own = tmp_path / "own.csv"
    own.write_text("\n".join(["target,model,accuracy", *lines]))
    gathered(job(own_results=own), files, tmp_path / "out")
    selection = read_table("selection", tmp_path / "out" / "selection.parquet")
    assert row(selection, method="lfc", target="t", recipe="own")["spearman"] == -1


def test_own_result_without_validation_moves_no_target_to_choice_on_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own.csv"
    own.write_text("target,model,accuracy\nt,a,0.99\n")
    gathered(job(own_results=own), study(tmp_path), tmp_path / "out")
    selection = read_table("selection", tmp_path / "out" / "selection.parquet")
    found = row(selection, method="lfc", **RUN)
    assert (found["chosen_on"], found["best_model"]) == ("validation", "e")
    assert "t, shots full: 1 runs have no validation figure" in caplog.text


def test_own_results_in_another_metric_than_the_runs_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("target,model,map\nt,a,0.99\n")
    with pytest.raises(ValueError, match=r"gives map for target 't', whose runs are judged by acc"):
        gathered(job(own_results=own), study(tmp_path), tmp_path / "out")


def test_own_results_of_no_table_are_named(tmp_path: Path) -> None:
    for name in ("own.csv", "own.parquet"):
        (tmp_path / name).write_bytes(b"a,b\n1,2,3\n")
        with pytest.raises(ValueError, match=f"{name}: cannot be read"):
            own_results(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target,accuracy\nt,0.5\n", "expected target, model"),
        ("target,model,map\nt,a,83\n", "83"),
        ("target,model,map\nt,a,good\n", "column 'map'.*expected a number"),
        ("target,model,accuracy\nt,a,nan\n", "accuracy nan is no fraction"),
        ("target,model,accuracy,validation\nt,a,0.8,80\n", "validation 80.0 is no fraction"),
        ("target,model,accuracy,seconds\nt,a,0.8,-5\n", "seconds -5.0; expected 0 or more"),
        ("target,model,accuracy\nt,,0.8\n", "a row has no model"),
        ("target,model,accuracy\n ,a,0.8\n", "a row has no target"),
        (
            "target,model,accuracy\nt,a,0.8\nt,a,0.9\n",
            "target t, shots full, model a, recipe own, seed 0 is there twice; give each run a",
        ),
        (
            "target,model,accuracy,map\nt,a,0.9,\nt,b,,0.8\n",
            "target 't' has accuracy and map; expected one",
        ),
    ],
)
def test_own_results_that_cannot_be_read_say_why(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        own_results(path)


def test_pooled_scores_are_scaled_over_the_models_and_added_with_their_signs() -> None:
    values = {
        "seli": [1.0, 3.0, 2.0, None],
        "nearest_center": [0.0, 1.0, 1.0, 1.0],
        "variability": [5.0, 7.0, 5.0, 6.0],
    }
    rows = [
        {
            "target": "t",
            "shots": "full",
            "model": model,
            "method": "ncti",
            "variant": f"part={part}{suffix}",
            "value": numbers[i],
        }
        for suffix in ("", ",images_per_class=5")
        for part, numbers in values.items()
        for i, model in enumerate("abcd")
    ]
    found = normalise_pools(frame("scores", rows))
    for variant in ("", "images_per_class=5"):
        own = found.filter(polars.col("variant") == variant).sort("model")
        # d lacks a part; the parts of a, b and c run over the pool of those that have each part.
        assert own["model"].to_list() == ["a", "b", "c"]
        assert own["value"].to_list() == pytest.approx([0 + 0 - 0, 1 + 1 - 1, 0.5 + 1 - 0])


def test_speed_of_fine_tunes_judges_the_linearised_loss(tmp_path: Path) -> None:
    files = study(tmp_path)
    rows = []
    for i, model in enumerate(MODELS):
        for variant, value in (("scalar=x", -i), ("scalar=x,first_order", i)):
            rows.append(
                {
                    "target": "t",
                    "shots": "full",
                    "model": model,
                    "method": "lgc",
                    "variant": variant,
                    "value": float(value),
                }
            )
    files["scores"].append(write("scores", rows, tmp_path / "lgc.parquet"))
    epochs = [
        {
            "stage": "finetune",
            "target": "t",
            "shots": "full",
            "model": model,
            "recipe": "slow",
            "seed": 0,
            "epoch": epoch,
            "train_accuracy": 0.95 if epoch >= 6 - i else 0.1,
        }
        for i, model in enumerate(MODELS)
        for epoch in range(1, 6)
    ]
    files["epochs"] = [write("epochs", epochs, tmp_path / "epochs.parquet")]
    gathered(job(), files, tmp_path / "out")
    selection = read_table("selection", tmp_path / "out" / "selection.parquet")
    timed = selection.filter(polars.col("metric") == "speed")
    assert set(timed["method"]) == {"lgc"}
    assert row(timed, variant="scalar=x,first_order")["spearman"] == pytest.approx(1)
    assert row(timed, variant="scalar=x")["spearman"] == pytest.approx(-1)
    assert timed["regret"].is_null().all()


def test_a_search_of_one_model_neither_selects_nor_makes_it_best(tmp_path: Path) -> None:
    files = study(tmp_path)
    searched = {
        "target": "t",
        "shots": "full",
        "model": "c",
        "recipe": "searched",
        "seed": 0,
        "task": "classification",
        "judged_by": "accuracy",
        "status": "finished",
        "test_accuracy": 0.99,
        "validation_accuracy": 0.99,
        "seconds": 10.0,
    }
    files["finetunes"].append(write("finetunes", [searched], tmp_path / "searched.parquet"))
    gathered(job(reference_model="c"), files, tmp_path / "out")
    selection = read_table("selection", tmp_path / "out" / "selection.parquet")
    assert "searched" not in selection["recipe"]
    assert row(selection, **(RUN | {"recipe": "best"}), method="lfc")["best_model"] == "e"
    efficiency = read_table("efficiency", tmp_path / "out" / "efficiency.parquet")
    search = efficiency.filter(
        polars.col("strategy") == "search", polars.col("target") == "t", polars.col("runs") == 3
    )
    assert search["value"][0] == pytest.approx(0.99)
