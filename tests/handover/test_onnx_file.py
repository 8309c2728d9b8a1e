"""ONNX exports give the same outputs, or are refused."""

import sys

import pytest
import torch
from torch import nn

from xferpipe.handover import onnx_file
from xferpipe.handover.bundle import write_bundle


@pytest.mark.slow
def test_exports_as_onnx_have_equal_outputs_for_any_batch(digits, timm_run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    for won in (digits, timm_run("timm:test_resnet")):
        folder = tmp_path / won.weights.stem
        about = write_bundle(won, folder, onnx=True)
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        px = about.preprocessing.px
        (logits,) = session.run(None, {"images": torch.zeros(5, 3, px, px).numpy()})
        assert logits.shape == (5, 3)


@pytest.mark.slow
def test_other_outputs_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_file, "_ALLOWED", -1.0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).eval()
    with pytest.raises(ValueError, match="gives other outputs"):
        onnx_file.write_onnx(model, 8, tmp_path / "model.onnx")


def test_missing_packages_are_named_before_anything_is_written(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"needs the package onnx: pip install 'xferpipe\[onnx\]'"):
        write_bundle(digits, tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()
