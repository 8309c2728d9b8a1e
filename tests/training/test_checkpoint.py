"""Checkpoints that cannot be used are named and left aside."""

from __future__ import annotations

import logging
import pickle

import pytest
import torch

from xferpipe.config.recipes import Recipe
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
    assert "another job" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "text", "pickle", "keys"])
def test_checkpoint_that_is_damaged_is_named_and_the_run_starts_afresh(tmp_path, caplog, damage):
    path = tmp_path / "c.pt"
    Checkpoint(path, "a").write({"step": 3, "weights": torch.arange(1000)})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
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
