"""Seconds of a job that runs once more."""

import polars
import pytest

from xferpipe.graph.first_seconds import keep_first_seconds
from xferpipe.records import frame, read_table, write_table
from xferpipe.records.stamp import Stamp, read_stamp, stamping

STAMP = Stamp("key", "finetune a", "{}", "code", "{}")


def ran(path, seconds, figure=0.5):
    row = {"target": "t", "seconds": seconds, "validation_accuracy": figure}
    write_table("finetunes", frame("finetunes", [row]), path)


def test_seconds_are_those_of_the_first_job_with_the_key(tmp_path):
    path = tmp_path / "run.parquet"
    with stamping(STAMP):
        for seconds, figure in ((2.5, 0.5), (9.0, 0.6)):
            ran(path, seconds, figure)
            keep_first_seconds("finetunes", path, "key", tmp_path)
            rows = read_table("finetunes", path, ours=True)
            assert rows.select("seconds", "validation_accuracy").row(0) == (2.5, figure)
            assert read_stamp(path) == STAMP
        ran(path, 4.0)
        keep_first_seconds("finetunes", path, "other", tmp_path)
    assert read_table("finetunes", path)["seconds"].to_list() == [4.0]


@pytest.mark.parametrize("damage", ["", "{", "[]", '"text"', '[1.5, "s"]'])
def test_damaged_note_is_written_anew(tmp_path, damage):
    path, note = tmp_path / "run.parquet", tmp_path / ".xferpipe" / "seconds" / "key.json"
    note.parent.mkdir(parents=True)
    note.write_text(damage)
    for seconds in (3.0, 5.0):
        ran(path, seconds)
        keep_first_seconds("finetunes", path, "key", tmp_path)
    assert read_table("finetunes", path)["seconds"].to_list() == [3.0]
    assert polars.read_parquet(path)["validation_accuracy"].to_list() == [0.5]
