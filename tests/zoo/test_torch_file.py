"""Torch files of training programs: their tensors are read, and nothing in them runs."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import types
from pathlib import Path, PurePosixPath

import numpy
import pytest
import torch

from xferpipe.zoo.torch_file import globals_of, read_torch_file
from xferpipe.zoo.weights import WeightsError

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.zeros(2)}


def same(found, state=STATE):
    return found.keys() == state.keys() and all(torch.equal(found[n], state[n]) for n in state)


def timms(raw, averaged):
    """Return what timm's train.py saves."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 9,
        "arch": "resnet50",
        "state_dict": raw,
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "args": argparse.Namespace(lr=0.1, mean=(0.5,), opt_betas=None, data_dir="x"),
        "amp_scaler": {"scale": 65536.0, "growth_factor": 2.0},
        "state_dict_ema": averaged,
        "metric": numpy.float64(78.5),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_of_timm_is_its_raw_and_averaged_weights(tmp_path, zipped):
    averaged = {name: value + 1 for name, value in STATE.items()}
    torch.save(timms(STATE, averaged), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_torch_file(tmp_path / "w.pth")
    assert same(found["state_dict"])
    assert same(found["state_dict_ema"], averaged)


def test_checkpoint_of_torchvision_is_its_model(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 1, 2])
    averaged = torch.optim.swa_utils.AveragedModel(model)
    content = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(output_dir="x", device="cuda"),
        "model_ema": averaged.state_dict(),
        "scaler": {"scale": 1.0},
    }
    torch.save(content, tmp_path / "w.pth")
    found = read_torch_file(tmp_path / "w.pth")
    assert same(found["model"], model.state_dict())
    assert "module.weight" in found["model_ema"]


@pytest.fixture
def packages(monkeypatch):
    """Make classes of packages that are not installed, as the writing program had them."""
    made = {}
    for module, name, base in (
        ("pytorch_lightning.utilities.parsing", "AttributeDict", dict),
        ("yacs.config", "CfgNode", dict),
        ("omegaconf.dictconfig", "DictConfig", object),
    ):
        holder = types.ModuleType(module)
        made[name] = type(name, (base,), {"__module__": module})
        setattr(holder, name, made[name])
        monkeypatch.setitem(sys.modules, module, holder)
        for parent in Path(*module.split(".")).parents:
            if parent.parts:
                monkeypatch.setitem(sys.modules, ".".join(parent.parts), types.ModuleType("x"))
    yield made
    assert all(not hasattr(one, "opened") for one in made.values())


def test_what_training_programs_put_beside_the_weights_needs_none_of_their_packages(
    tmp_path, packages, monkeypatch
):
    config = packages["DictConfig"]()
    config.lr = 0.1
    content = {
        "state_dict": STATE,
        "hyper_parameters": packages["AttributeDict"](lr=0.1, backbone="resnet50"),
        "config": packages["CfgNode"](MODEL="r50"),
        "omega": config,
        "output": PurePosixPath("runs/1"),
        "rank1": numpy.float32(0.9),
        "random": numpy.arange(3),
    }
    torch.save(content, tmp_path / "w.ckpt")
    for module in [name for name in sys.modules if name.startswith(("yacs", "omegaconf"))]:
        monkeypatch.delitem(sys.modules, module)
    assert same(read_torch_file(tmp_path / "w.ckpt")["state_dict"])
    assert "yacs.config" not in sys.modules


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker, how):
        self.marker, self.how = marker, how

    def __reduce__(self):
        return self.how, (str(self.marker),)


WRAPPERS = {
    "bare": lambda evil: evil,
    "among the tensors": lambda evil: {**STATE, "evil": evil},
    "state_dict": lambda evil: {"state_dict": STATE, "args": evil},
    "model": lambda evil: {"model": {**STATE, "evil": evil}},
    "in a namespace": lambda evil: {"model": STATE, "args": argparse.Namespace(evil=evil)},
    "teacher": lambda evil: {"teacher": STATE, "student": evil},
    "state_dict_ema": lambda evil: {"state_dict": STATE, "state_dict_ema": evil},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
@pytest.mark.parametrize("how", [os.mkdir, Path.mkdir])
def test_code_in_any_wrapper_is_refused_and_not_run(tmp_path, wrapper, form, how):
    marker, path = tmp_path / "ran", tmp_path / "w.pth"
    how = os.mkdir if how is os.mkdir else _made
    content = WRAPPERS[wrapper](Payload(marker, how))
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(WeightsError, match="nothing else is unpickled") as caught:
        read_torch_file(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()
    pickle.loads(pickle.dumps(content))
    assert marker.exists(), "the payload itself does nothing, so this test shows nothing"


def _made(marker):
    Path(marker).mkdir()


def test_name_of_a_package_that_is_let_through_runs_nothing_either(tmp_path, monkeypatch):
    """What stands in for classes beside the weights is ours, whatever the file calls."""
    marker = tmp_path / "ran"
    holder = types.ModuleType("omegaconf")
    holder.made = type(_made)(_made.__code__, _made.__globals__, "made")
    holder.made.__module__, holder.made.__qualname__ = "omegaconf", "made"
    monkeypatch.setitem(sys.modules, "omegaconf", holder)
    torch.save({"state_dict": STATE, "x": Payload(marker, holder.made)}, tmp_path / "w.pth")
    assert "omegaconf.made" in globals_of(tmp_path / "w.pth")
    assert same(read_torch_file(tmp_path / "w.pth")["state_dict"])
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_whole_model_says_how_to_save_its_state_dict(tmp_path, zipped, wrapped):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    content = {"model": model, "epoch": 3} if wrapped else model
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"holds a whole model.*torch\.save\(model\.state_dict"):
        read_torch_file(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [3, [torch.ones(2)], {}, {"epoch": 3}, {0: torch.ones(2)}])
def test_file_without_named_tensors_is_told_as_what_it_holds(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"found a {type(content).__name__}"):
        read_torch_file(tmp_path / "w.pth")


def test_file_that_holds_itself_is_read(tmp_path):
    content = {"model": dict(STATE)}
    content["self"] = content
    torch.save(content, tmp_path / "w.pth")
    assert same(read_torch_file(tmp_path / "w.pth")["model"])
