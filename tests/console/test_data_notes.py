"""Findings of the data checks at the end of a run."""

from __future__ import annotations

from types import SimpleNamespace

import polars
import pytest

from xferpipe.config import load_study
from xferpipe.console.data_notes import data_notes
from xferpipe.records import frame, write_table

#: Split, identity, camera and label.
IMAGES = (
    ("train", 1, 1, 0),
    ("train", 4, 2, 1),
    ("query", 2, 1, None),
    ("query", 3, 1, None),
    ("gallery", 2, 2, None),
)


@pytest.fixture
def rules(tmp_path):
    """A study of one retrieval target, and the manifest of a finished run."""
    study = load_study(
        {
            "name": "people",
            "datasets": {"people": {"reader": "market1501", "root": str(tmp_path)}},
            "targets": {"people": {"dataset": "people", "task": "retrieval"}},
            "zoo": {"random": {"architecture": "cifar_resnet8", "weights": "random"}},
        }
    )
    rows = polars.DataFrame(IMAGES, schema=["split", "identity", "camera", "label"], orient="row")
    name = polars.col("identity").cast(polars.String)
    rows = rows.with_row_index("row").with_columns(
        path=polars.format("{}.jpg", "row"), class_name=name
    )
    place = tmp_path / "manifest" / "people" / "manifest.parquet"
    write_table("manifest", frame("manifest", rows.to_dicts()), place)
    return SimpleNamespace(study=study, results=tmp_path)


def test_findings_are_said_with_the_data_set_and_not_twice(rules):
    lines = data_notes(rules, [])
    assert any(
        line.startswith("data set people: 1 of 2 queries have no positive") for line in lines
    )
    told = [f"Market-1501 in somewhere: {lines[0].removeprefix('data set people: ')}"]
    assert data_notes(rules, told) == lines[1:]


def test_set_that_is_not_listed_yet_has_none(rules, tmp_path):
    (tmp_path / "manifest" / "people" / "manifest.parquet").unlink()
    assert data_notes(rules, []) == []
