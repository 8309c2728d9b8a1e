"""Table `history`: made of a study's tables, read back as earlier targets."""

from pathlib import Path

import numpy
import polars
import pytest

from xferpipe.config.histories import shipped
from xferpipe.evidence.history import (
    SCHEMA,
    HistoryError,
    earlier_targets,
    history_of,
    read_history,
)
from xferpipe.evidence.observations import angle
from xferpipe.evidence.seeds import step_variance, typical
from xferpipe.records import frame, write_table

RUN = {"shots": "full", "recipe": "sgd"}


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables of a study: two targets, three models, two seeds; one run diverged."""
    runs, predictions = [], []
    for target in ("cats", "dogs"):
        for i, model in enumerate("abc"):
            for seed in (0, 1):
                run = RUN | {"target": target, "model": model, "seed": seed}
                about = {"task": "classification", "judged_by": "accuracy", "seconds": 2.0}
                if (target, model, seed) == ("dogs", "c", 1):
                    runs.append(run | about | {"status": "diverged"})
                    continue
                figures = {"validation_accuracy": (6 + i) / 10, "validation_images": 10}
                figures |= {"test_accuracy": 0.7, "test_images": 30}
                runs.append(run | about | {"status": "finished"} | figures)
                predictions += [
                    run | {"split": "validation", "row": row, "label": 1, "predicted": row < 6 + i}
                    for row in reversed(range(10))
                ]
    scores = [
        {"target": target, "shots": "full", "model": model, "method": "lfc", "variant": variant}
        | {"value": value, "seconds": 0.1, "feature_seconds": 0.5}
        for target in ("cats", "birds")
        for model in "abc"
        for variant, value in (("", 0.5), ("k=2", float("nan")))
    ]
    zoo = [{"model": model, "parameters": 1000, "source_accuracy": None} for model in "abc"]
    for name, rows in (
        ("finetunes", runs),
        ("predictions", predictions),
        ("scores", scores),
        ("zoo", zoo),
        ("retrieval", []),
    ):
        write_table(name, frame(name, rows), tmp_path / f"{name}.parquet")
    return tmp_path


def test_history_of_a_study_holds_its_runs_scores_and_cards(tables: Path) -> None:
    found = history_of(tables, "pets", {"cats": "photos", "dogs": "photos"})
    assert found.columns == frame("history", []).columns
    counts = dict(found.group_by("kind").len().rows())
    assert counts == {"run": 12, "score": 3, "card": 6}
    assert found.filter(kind="score")["seconds"].to_list() == pytest.approx([0.6] * 3)
    assert set(found["source"]) == {"photos"}
    assert set(found["schema"]) == {SCHEMA}
    (run,) = found.filter(kind="run", target="cats", model="b", seed=1).rows(named=True)
    assert (run["name"], run["metric"], run["value"], run["images"]) == ("sgd", "accuracy", 0.7, 10)
    assert (run["test"], run["test_images"], run["seconds"]) == (0.7, 30, 2.0)
    assert run["outcomes"] is None


def test_history_keeps_which_images_were_right_where_asked(tables: Path) -> None:
    found = history_of(tables, "pets", {}, outcomes=True)
    packed = found.filter(kind="run", target="cats", model="b")["outcomes"][0]
    bits = numpy.unpackbits(numpy.frombuffer(packed, numpy.uint8))[:10]
    assert bits.tolist() == [1] * 7 + [0] * 3


def test_history_read_back_is_earlier_targets(tables: Path, tmp_path: Path) -> None:
    path = tmp_path / "pets.parquet"
    write_table("history", history_of(tables, "pets", {"cats": "photos"}), path)
    history = read_history([path, path])
    cats, dogs = earlier_targets(history)
    assert (cats.source, dogs.source) == ("photos", "dogs")
    assert cats.models == ["a", "b", "c"]
    assert cats.pairs["a", "sgd"] == pytest.approx(float(angle(numpy.array(0.6), numpy.array(10))))
    # Both seeds agree: of ten images nothing below a step is known.
    assert cats.seeds == {"sgd": pytest.approx(typical([0.0], [1], step_variance(10)) ** 0.5)}
    assert cats.seconds["b", "sgd"] == pytest.approx(2)
    assert cats.scores == {
        "lfc": dict.fromkeys("abc", 0.5),
        "parameters": dict.fromkeys("abc", 1000),
    }
    assert [one.source for one in earlier_targets(history, leave_out="photos")] == ["dogs"]
    assert earlier_targets(history, metric="map") == []
    assert earlier_targets(read_history([])) == []


def test_run_that_diverged_counts_as_chance(tables: Path) -> None:
    history = history_of(tables, "pets", {})
    (run,) = history.filter(kind="run", target="dogs", model="c", seed=1).rows(named=True)
    assert (run["value"], run["test"], run["seconds"]) == (None, None, 2.0)
    cats, dogs = earlier_targets(history)
    chance, found = angle(numpy.array([0.1, 0.8]), numpy.array([200, 10]))
    assert cats.pairs["c", "sgd"] == pytest.approx(found)
    assert dogs.pairs["c", "sgd"] == pytest.approx((chance + found) / 2)


def test_figures_of_a_retrieval_target_are_its_precision(tables: Path) -> None:
    run = RUN | {"target": "cars", "model": "a", "seed": 0}
    about = {"task": "retrieval", "judged_by": "map", "status": "finished", "validation_map": 0.4}
    write_table("finetunes", frame("finetunes", [run | about]), tables / "finetunes.parquet")
    rows = [run | {"map": m, "reranked": r, "queries": 7} for m, r in ((0.5, False), (0.6, True))]
    write_table("retrieval", frame("retrieval", rows), tables / "retrieval.parquet")
    (found,) = history_of(tables, "pets", {}).filter(kind="run").rows(named=True)
    assert (found["metric"], found["value"]) == ("map", 0.4)
    assert (found["test"], found["test_images"]) == (0.5, 7)


def test_history_of_another_form_is_refused(tables: Path, tmp_path: Path) -> None:
    later = history_of(tables, "pets", {}).with_columns(schema=polars.col("schema") + 1)
    write_table("history", later, tmp_path / "later.parquet")
    with pytest.raises(HistoryError, match=r"later.parquet has form \[2\].*xferpipe history add"):
        read_history([tmp_path / "later.parquet"])


def test_shipped_history_can_be_read() -> None:
    history = read_history(shipped())
    assert (
        len(earlier_targets(history))
        == history.filter(kind="run").select("target", "shots").n_unique()
    )
