"""A finished study, and a fine-tune of a timm architecture that stands in one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from xferpipe.config.jobs import FinetuneJob
from xferpipe.handover.winner import Winner, winner
from xferpipe.records.stamp import read_stamp, stamping
from xferpipe.zoo.build import build_model
from xferpipe.zoo.weights import save_weights


@pytest.fixture(scope="session")
def tables(finished_run) -> Path:
    return finished_run.results / "tables"


@pytest.fixture(scope="session")
def digits(tables) -> Winner:
    """The pick of the target digits."""
    return winner(tables, "digits")


@pytest.fixture
def timm_run(digits, tmp_path):
    """Return a run of a small timm model, as the workflow would have left it: fresh weights."""

    def make(name: str = "timm:test_resnet", **recipe) -> Winner:
        stamp = read_stamp(digits.weights)
        content = json.loads(stamp.slice)
        content["spec"] |= {"architecture": name, "width": 64}
        content["dataset"]["image_px"] = 64
        content["recipe"] |= recipe
        job = FinetuneJob.model_validate(content)
        path = tmp_path / f"{name.replace(':', '_')}.safetensors"
        model = build_model(job.spec, 3, seed=1)
        with stamping(replace(stamp, slice=job.canonical_json())):
            save_weights(model, path)
        return replace(digits, weights=path)

    return make
