"""Table `history` of a finished study."""

from pathlib import Path

import numpy
import pytest
from study_tables import RUN

from xferpipe.evidence.compiled import history_of
from xferpipe.evidence.history import SCHEMA
from xferpipe.records import frame, write_table


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


def test_figures_of_a_retrieval_target_are_its_precision(tables: Path) -> None:
    run = RUN | {"target": "cars", "model": "a", "seed": 0}
    about = {"task": "retrieval", "judged_by": "map", "status": "finished", "validation_map": 0.4}
    write_table("finetunes", frame("finetunes", [run | about]), tables / "finetunes.parquet")
    rows = [run | {"map": m, "reranked": r, "queries": 7} for m, r in ((0.5, False), (0.6, True))]
    write_table("retrieval", frame("retrieval", rows), tables / "retrieval.parquet")
    (found,) = history_of(tables, "pets", {}).filter(kind="run").rows(named=True)
    assert (found["metric"], found["value"]) == ("map", 0.4)
    assert (found["test"], found["test_images"]) == (0.5, 7)
