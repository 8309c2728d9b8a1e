"""Two processes on gloo give what one gives with the same global batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.training.parameters import freeze
from xferpipe.training.processes import parallel, share

SCRIPT = """
import os, sys
import numpy, torch
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.recipes import Recipe
from xferpipe.datasets.images import PackedImages
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.compute import prepare
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.loop import fit
from xferpipe.training.processes import processes, rank
from xferpipe.zoo.build import build_model

folder, options = sys.argv[1], eval(sys.argv[2])
norm = options.pop("norm", "group")
kill_after = options.pop("kill_after", None)


class Killed(Checkpoint):
    left = kill_after or -1

    def write(self, state):
        super().write(state)
        self.left -= 1
        if self.left == 0:
            os._exit(1)


with processes(prepare("cpu", 1)) as device:
    recipe = Recipe(epochs=2, batch_size=8, lr=0.05, select="last", **options)
    spec = ModelSpec(
        architecture="cifar_resnet8", width=4, norm=norm, mean=(0.5,) * 3, std=(0.25,) * 3
    )
    images = PackedImages(f"{folder}/images.npy")
    train = LabelledImages(
        images, numpy.arange(21), numpy.arange(21) % 3, spec, device, recipe
    )
    model = build_model(spec, 3, seed=1)
    saved = None if kill_after is None else Killed(f"{folder}/checkpoint.pt", "job", 0)
    result = fit(model, recipe, train, train, seed=0, checkpoint=saved)
    if rank() == 0:
        for row in result.rows:
            row.pop("seconds")
        torch.save({"rows": result.rows, "state": model.state_dict()}, sys.argv[3])
"""


def run(folder: Path, processes: int, options: dict) -> dict:
    import numpy

    draw = numpy.random.default_rng(0)
    numpy.save(folder / "images.npy", draw.integers(0, 255, (21, 3, 8, 8), dtype=numpy.uint8))
    (folder / "train.py").write_text(SCRIPT)
    out = folder / f"{processes}.pt"
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), str(folder / "train.py")]
    done = subprocess.run(
        [*command, str(folder), json.dumps(options), str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize("options", [{"crop_padding_px": 1, "mixup_alpha": 0.2}])
def test_two_processes_equal_one_with_the_same_global_batch(tmp_path, options):
    one, two = (run(tmp_path, count, options) for count in (1, 2))
    for row, other in zip(one["rows"], two["rows"], strict=True):
        for name, value in row.items():
            expected = None if value is None else pytest.approx(value, rel=1e-4)
            assert other[name] == expected, name
    for name, value in one["state"].items():
        assert torch.allclose(value, two["state"][name], rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize("layers", ["all", "head"])
def test_batch_norm_over_cpu_processes_is_refused(model, monkeypatch, layers):
    """Also where the norms' weights are frozen: what they normalise by is the batch."""
    monkeypatch.setattr("xferpipe.training.processes.world", lambda: 2)
    recipe = Recipe(epochs=1, batch_size=8, lr=0.1, train_layers=layers, freeze_bn="none")
    network = model()
    freeze(network, recipe)
    with pytest.raises(ValueError, match="would each see a part of the batch"):
        parallel(network, recipe)


@pytest.mark.slow
def test_two_processes_killed_within_an_epoch_go_on_with_the_figures_of_both(tmp_path):
    options = {"kill_after": 2}
    with pytest.raises(RuntimeError):
        run(tmp_path, 2, options)
    assert (tmp_path / "checkpoint.pt").exists()
    resumed = run(tmp_path, 2, {"kill_after": 0})
    one = run(tmp_path, 1, {})
    for row, other in zip(one["rows"], resumed["rows"], strict=True):
        for name, value in row.items():
            expected = None if value is None else pytest.approx(value, rel=1e-4)
            assert other[name] == expected, name


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_shares_cover_a_batch_once_and_weigh_to_its_mean(monkeypatch, world, count):
    values = torch.arange(1.0, count + 1)
    mean = 0.0
    seen = []
    monkeypatch.setattr("xferpipe.training.processes.world", lambda: world)
    for rank in range(world):
        monkeypatch.setattr("xferpipe.training.processes.rank", lambda rank=rank: rank)
        part, factor = share(count)
        mean += factor * values[part].mean().item() / world
        if factor:
            seen += values[part].tolist()
    assert seen == values.tolist()
    assert mean == pytest.approx(values.mean().item())
