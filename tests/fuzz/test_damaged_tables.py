"""Damaged Parquet files of features: what fuzzing found, refused in words."""

from __future__ import annotations

import polars
import pytest

from xferpipe.records import RecordError, read_table
from xferpipe.retrieval.feature_files import FeatureFileError, opened

ROWS = 60


def footer_with(path, old, new):
    """Change the first place of the footer that holds some bytes to others, as many."""
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    at = content.index(old, start)
    path.write_bytes(content[:at] + new + content[at + len(old) :])


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "query.parquet"
    feature = polars.Series([[1.0, 2.0]] * ROWS, dtype=polars.List(polars.Float32))
    polars.DataFrame({"identity": range(ROWS), "feature": feature}).write_parquet(path)
    return path


def test_opened_parquet_with_a_name_that_is_no_text_is_refused_in_words(features):
    footer_with(features, b"identity", b"ident\xfe\xa7y")
    with pytest.raises(FeatureFileError, match=r"query\.parquet: cannot be read as Parquet"):
        opened(features).__enter__()


def test_opened_parquet_with_fewer_rows_than_promised_is_refused_in_words(features):
    # The file's number of rows, before those of its row groups: a 64-bit field, the sign last.
    footer_with(features, bytes([0x16, 2 * ROWS]), bytes([0x16, 2 * ROWS + 2]))
    with pytest.raises(FeatureFileError, match="promises 61 rows but 60 are there"):
        opened(features).__enter__()


def test_read_table_that_makes_polars_panic_is_refused_in_words(tmp_path, monkeypatch):
    """Its Rust panics on some damaged files, and what Python then gets is no Exception."""

    def panic(*_, **__):
        raise polars.exceptions.PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(polars, "read_parquet", panic)
    with pytest.raises(RecordError, match=r"zoo\.parquet: cannot be read as Parquet"):
        read_table("zoo", tmp_path / "zoo.parquet")
