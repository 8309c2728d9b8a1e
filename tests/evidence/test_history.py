"""Table `history`: made of a study's tables, read back as earlier targets."""

from pathlib import Path

import numpy
import polars
import pytest

from xferpipe.config.histories import shipped
from xferpipe.evidence.compiled import history_of
from xferpipe.evidence.history import (
    HistoryError,
    earlier_targets,
    read_history,
)
from xferpipe.evidence.observations import angle
from xferpipe.evidence.seeds import step_variance, typical
from xferpipe.records import write_table


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
    assert earlier_targets(read_history([])) == []


def test_run_that_diverged_counts_as_chance(tables: Path) -> None:
    history = history_of(tables, "pets", {})
    (run,) = history.filter(kind="run", target="dogs", model="c", seed=1).rows(named=True)
    assert (run["value"], run["test"], run["seconds"]) == (None, None, 2.0)
    cats, dogs = earlier_targets(history)
    chance, found = angle(numpy.array([0.1, 0.8]), numpy.array([200, 10]))
    assert cats.pairs["c", "sgd"] == pytest.approx(found)
    assert dogs.pairs["c", "sgd"] == pytest.approx((chance + found) / 2)


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
