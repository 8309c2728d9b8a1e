"""Which weights are found on this machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xferpipe.config import cached_weights
from xferpipe.config.cached_weights import hugging_face_hub, is_cached, torch_checkpoints
from xferpipe.config.catalogue import listed


@pytest.fixture
def caches(tmp_path, monkeypatch):
    for name in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached_weights._names.cache_clear()
    yield
    cached_weights._names.cache_clear()


@pytest.mark.parametrize(
    "variables",
    [{}, {"TORCH_HOME": "t", "HF_HOME": "h"}, {"XDG_CACHE_HOME": "x"}, {"HF_HUB_CACHE": "c"}],
)
def test_folders_are_those_of_the_libraries(tmp_path, monkeypatch, variables):
    for name in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    code = (
        "import torch, huggingface_hub.constants as c; "
        "print(torch.hub.get_dir() + '/checkpoints'); print(c.HF_HUB_CACHE)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == [str(torch_checkpoints()), str(hugging_face_hub())]


def test_weights_are_cached_where_a_file_of_theirs_is(caches):
    torchvision, timm = listed("resnet18"), listed("timm:resnet18.a1_in1k")
    assert not is_cached(torchvision)
    assert not is_cached(timm)
    torch_checkpoints().mkdir(parents=True)
    (torch_checkpoints() / "resnet18-f37072fd.pth").touch()
    snapshot = hugging_face_hub() / "models--timm--resnet18.a1_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    cached_weights._names.cache_clear()
    assert is_cached(torchvision)
    assert not is_cached(timm)
    (snapshot / "model.safetensors").touch()
    assert is_cached(timm)


def test_file_of_ones_own_in_the_folder_of_torch_counts(caches):
    torch_checkpoints().mkdir(parents=True)
    (torch_checkpoints() / "resnet18.a1_in1k.safetensors").touch()
    assert is_cached(listed("timm:resnet18.a1_in1k"))
    assert not is_cached(listed("timm:resnet18.a2_in1k"))
