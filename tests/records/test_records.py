"""Tables: checked against their schema, written whole or not at all."""

import polars
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe import records

ROW = {"target": "t", "shots": "full", "model": "m", "method": "lfc", "value": 0.5}


def test_table_read_back_equals_what_was_written(tmp_path):
    table = records.frame("scores", [ROW, {**ROW, "value": None, "reason": "one class"}])
    records.write_table("scores", table, tmp_path / "scores.parquet")
    assert records.read_table("scores", tmp_path / "scores.parquet").equals(table)


def test_metadata_holds_version_and_table(tmp_path):
    path = tmp_path / "scores.parquet"
    records.write_table("scores", records.empty("scores"), path)
    metadata = pyarrow.parquet.read_metadata(path).metadata
    assert metadata[b"xferpipe.version"].decode() == records.version()
    assert metadata[b"xferpipe.table"] == b"scores"


@pytest.mark.parametrize(
    "table",
    [
        records.empty("scores").drop("value"),
        records.empty("scores").with_columns(more=polars.lit(1)),
        records.empty("scores").with_columns(polars.col("value").cast(polars.Int64)),
    ],
    ids=["missing column", "unknown column", "wrong type"],
)
def test_table_off_its_schema_is_refused_and_nothing_written(table, tmp_path):
    with pytest.raises(records.RecordError, match="scores"):
        records.write_table("scores", table, tmp_path / "scores.parquet")
    assert list(tmp_path.iterdir()) == []


def test_row_with_an_unknown_column_is_refused():
    with pytest.raises(records.RecordError, match="valeu"):
        records.frame("scores", [{"valeu": 1.0}])


def test_row_with_a_value_of_another_type_is_refused():
    with pytest.raises(records.RecordError, match="scores"):
        records.frame("scores", [{**ROW, "value": "high"}])


def test_failure_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail():
        with records.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("result.txt", "old")]


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_file_that_is_no_parquet_is_an_error_with_its_path(content, tmp_path):
    path = tmp_path / "scores.parquet"
    path.write_bytes(content)
    with pytest.raises(records.RecordError, match=r"scores\.parquet"):
        records.read_table("scores", path)


def test_another_table_is_not_taken_for_this_one(tmp_path):
    records.write_table("gains", records.empty("gains"), tmp_path / "gains.parquet")
    with pytest.raises(records.RecordError, match="expected table scores"):
        records.read_table("scores", tmp_path / "gains.parquet")


@pytest.mark.parametrize("keep_metadata", [True, False])
def test_table_edited_by_hand_is_told(keep_metadata, tmp_path):
    path = tmp_path / "scores.parquet"
    records.write_table("scores", records.frame("scores", [ROW, ROW]), path)
    assert records.read_table("scores", path, ours=True).height == 2
    footer = pyarrow.parquet.read_metadata(path).metadata
    edited = records.frame("scores", [ROW, {**ROW, "value": 0.9}]).to_arrow()
    metadata = footer if keep_metadata else None
    pyarrow.parquet.write_table(edited.replace_schema_metadata(metadata), path)
    with pytest.raises(records.RecordError, match="edited by hand"):
        records.read_table("scores", path, ours=True)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({"value": st.floats() | st.none(), "model": st.text()})))
def test_any_row_survives_the_file(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "scores.parquet"
    table = records.frame("scores", rows)
    records.write_table("scores", table, path)
    assert records.read_table("scores", path, ours=True).equals(table)


def test_result_table_is_loaded_by_its_name(tmp_path):
    from xferpipe import load_table

    table = records.frame("selection", [{"target": "t", "spearman": 0.5}])
    records.write_table("selection", table, tmp_path / "tables" / "selection.parquet")
    assert load_table("selection", tmp_path / "tables").equals(table)
    with pytest.raises(records.RecordError, match="selection"):
        load_table("selektion", tmp_path / "tables")


def test_every_column_has_a_meaning():
    for columns in records.TABLES.values():
        assert len({column.name for column in columns}) == len(columns)
        assert all(column.meaning.endswith(".") for column in columns)
