"""Checkpoints that cannot be used are named and left aside."""

from __future__ import annotations

import logging
import os
import pickle

import pytest
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.records.ownership import Ownership, SupersededError
from xferpipe.records.stamp import Stamp, stamping
from xferpipe.training.checkpoint import Checkpoint, identity_of


def test_checkpoint_round_trip_and_removal(tmp_path):
    saved = Checkpoint(tmp_path / "c.pt", "a", interval_seconds=0)
    assert saved.read() is None
    saved.write({"step": 3, "weights": torch.arange(4)})
    state = saved.read()
    assert state["step"] == 3
    assert torch.equal(state["weights"], torch.arange(4))
    saved.remove()
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_of_another_job_is_ignored(tmp_path, caplog):
    Checkpoint(tmp_path / "c.pt", "a").write({"step": 3})
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(tmp_path / "c.pt", "b").read() is None
    assert "other values, code or inputs" in caplog.text


def test_checkpoint_in_the_workflow_is_known_by_the_key_of_its_job():
    """The slice alone does not say which weights a run started from."""
    job = Recipe(epochs=2)
    stamps = [Stamp(key, "finetune a", "{}", "code", "{}") for key in ("one", "other")]
    found = []
    for stamp in stamps:
        with stamping(stamp):
            found.append(identity_of(job))
    assert found == ["one", "other"]
    assert identity_of(job) not in found


def test_checkpoint_of_a_job_that_was_taken_over_is_left_to_its_owner(tmp_path, monkeypatch):
    monkeypatch.setenv("XFERPIPE_OWNER", "")
    old, new = Ownership(tmp_path / "owner"), Ownership(tmp_path / "owner")
    old.take()
    handed = os.environ["XFERPIPE_OWNER"]
    saved = Checkpoint(tmp_path / "c.pt", "a")
    saved.write({"step": 3})
    new.take()
    monkeypatch.setenv("XFERPIPE_OWNER", handed)
    for refused in (lambda: saved.write({"step": 4}), saved.remove):
        with pytest.raises(SupersededError):
            refused()
    assert saved.read()["step"] == 3


def test_unfinished_checkpoints_of_killed_processes_go_with_the_next_start(tmp_path):
    left = tmp_path / ".c.pt.abc.partial"
    other = tmp_path / ".other.pt.abc.partial"
    for file in (left, other):
        file.touch()
    assert Checkpoint(tmp_path / "c.pt", "a").read() is None
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "pickle", "keys"])
def test_checkpoint_that_is_damaged_is_named_and_the_run_starts_afresh(tmp_path, caplog, damage):
    path = tmp_path / "c.pt"
    Checkpoint(path, "a").write({"step": 3, "weights": torch.arange(1000)})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "flipped":
        # Within the weights, which torch.load does not look at.
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "text":
        path.write_text("no checkpoint")
    elif damage == "pickle":
        path.write_bytes(pickle.dumps(Recipe, protocol=2))
    else:
        torch.save({"other": 1}, path)
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(path, "a").read() is None
    assert str(path) in caplog.text


def test_identity_follows_every_value_of_the_slice():
    assert identity_of(Recipe(lr=0.1)) == identity_of(Recipe(lr=0.1))
    assert identity_of(Recipe(lr=0.1)) != identity_of(Recipe(lr=0.2))


def test_interval_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XFERPIPE_CHECKPOINT_SECONDS", "0")
    assert Checkpoint(tmp_path / "c.pt", "a").due()
    monkeypatch.setenv("XFERPIPE_CHECKPOINT_SECONDS", "3600")
    assert not Checkpoint(tmp_path / "c.pt", "a").due()
