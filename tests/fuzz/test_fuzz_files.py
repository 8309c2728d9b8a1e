"""Hostile files: tables, weights and checkpoints are read whole or refused in words.

What is drawn is the same in every run; this draws other cases each time:
pytest --hypothesis-profile fresh tests/fuzz
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import polars
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import TABLES, RecordError, empty, read_table, write_table
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.zoo.weights import WeightsError, read_weights

quick = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

HOSTILE_PATHS = ["../../etc/passwd", "/etc/passwd", "a b.png", "$(id).png", "a'b\".png", "é\n.png"]


def answer(read, refusals, named):
    """Return what was read, or None where it was refused by an error that names the file."""
    refusal = result = None
    try:
        result = read()
    except refusals as error:
        refusal = str(error)
    assert result is not None or named in refusal
    return result


def manifest_rows():
    rows = [
        {"row": i, "path": f"{split}/{i}.png", "label": i % 2, "class_name": "ab"[i % 2]}
        | {"split": split}
        for i, split in enumerate(["train"] * 6 + ["test"] * 4)
    ]
    schema = {column.name: column.type for column in TABLES["manifest"]}
    return polars.DataFrame(
        [{name: row.get(name) for name in schema} for row in rows], schema=schema
    )


@st.composite
def hostile_manifests(draw):
    """A good manifest with one column of other values, types or order."""
    rows = manifest_rows()
    column = draw(st.sampled_from(rows.columns))
    kind = draw(st.sampled_from(["values", "type", "drop", "extra", "shuffle", "repeat"]))
    if kind == "values":
        small = st.integers(-3, 2**63 - 1)
        texts = st.one_of(st.text(max_size=8), st.sampled_from(HOSTILE_PATHS))
        values = texts if rows.schema[column] == polars.String else small
        new = draw(st.lists(st.one_of(st.none(), values), min_size=10, max_size=10))
        return rows.with_columns(polars.Series(column, new, dtype=rows.schema[column]))
    if kind == "type":
        other = draw(st.sampled_from([polars.Float32, polars.Boolean, polars.List(polars.Int8)]))
        return rows.with_columns(polars.lit(None, dtype=other).alias(column))
    if kind == "drop":
        return rows.drop(column)
    if kind == "extra":
        return rows.with_columns(polars.lit(1).alias(draw(st.text(min_size=1, max_size=5))))
    if kind == "shuffle":
        return rows.sample(fraction=1, shuffle=True, seed=draw(st.integers(0, 99)))
    return polars.concat([rows] * draw(st.integers(0, 3)) or [rows.clear()])


@settings(quick, max_examples=500)
@given(rows=hostile_manifests())
def test_manifest_of_any_content_is_read_or_refused_in_words(tmp_path, rows):
    file = tmp_path / "manifest.parquet"
    rows.write_parquet(file)
    found = answer(lambda: read_manifest(file), (RecordError, DatasetError), "manifest.parquet")
    if found is None:
        return
    assert found.height == rows.height
    for path in found["path"].drop_nulls():
        parts = Path(path).parts
        assert ".." not in parts, f"{path!r} leaves the data set's folder"
        assert not Path(path).is_absolute(), f"{path!r} leaves the data set's folder"


def damaged(draw, content):
    """Cut a file short, flip some of its bytes, or both."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    return bytes(content[: draw(st.integers(0, len(content)))])


@settings(quick, max_examples=300)
@given(data=st.data(), name=st.sampled_from(["manifest", "zoo", "scores", "finetunes"]))
def test_damaged_table_is_read_or_refused_in_words(tmp_path, data, name):
    file = tmp_path / "table.parquet"
    write_table(name, empty(name), file)
    file.write_bytes(damaged(data.draw, file.read_bytes()))
    found = answer(lambda: read_table(name, file), RecordError, str(file))
    assert found is None or found.columns == [column.name for column in TABLES[name]]


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def hostile_files(marker):
    """Return files that run code when they are unpickled, as torch and pickle write them."""
    whole = io.BytesIO()
    torch.save(
        {"identity": "job", "state": {"step": Payload(marker), "model": Payload(marker)}}, whole
    )
    old = io.BytesIO()
    torch.save(Payload(marker), old, _use_new_zipfile_serialization=False)
    return {
        "torch": whole.getvalue(),
        "legacy": old.getvalue(),
        "pickle": pickle.dumps(Payload(marker)),
    }


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_checkpoint_with_pickled_code_is_left_aside_and_not_run(tmp_path, form, caplog):
    marker = tmp_path / "pwned"
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(hostile_files(marker)[form])
    assert Checkpoint(file, "job").read() is None
    assert "starting afresh" in caplog.text
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists(), "the payload itself does nothing, so this test shows nothing"


@settings(quick, max_examples=300)
@given(data=st.data())
def test_damaged_checkpoint_is_left_aside_or_as_it_was(tmp_path, data):
    file = tmp_path / "checkpoint.pt"
    state = {"step": 7, "weights": torch.arange(50.0), "texts": ["a", "b"]}
    Checkpoint(file, "job").write(state)
    file.write_bytes(damaged(data.draw, file.read_bytes()))
    found = Checkpoint(file, "job").read()
    if found is not None:
        assert found["step"] == 7
        assert found["texts"] == ["a", "b"]
        assert torch.equal(found["weights"], state["weights"])


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_weights_with_pickled_code_are_refused_and_not_run(tmp_path, form):
    marker = tmp_path / "pwned"
    file = tmp_path / "weights.safetensors"
    file.write_bytes(hostile_files(marker)[form])
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        read_weights(file)
    assert not marker.exists()


def test_source_unpickles_nothing_but_tensors():
    """Every torch.load says weights_only=True; a run's own processes alone pickle to each other."""
    for path in (Path(__file__).resolve().parents[2] / "src").rglob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text or path.stem in ("warm", "warm_parent"), path
        for call in text.split("torch.load(")[1:]:
            assert "weights_only=True" in call[:200], path
        assert "allow_pickle=True" not in text, path
