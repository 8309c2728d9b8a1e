"""What a plan says of files of weights is what the job says that loads them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from xferpipe.config.jobs import LoadWeightsJob, ModelSpec
from xferpipe.config.zoo import ZooEntry, file_options
from xferpipe.stages.load_weights import load_weights
from xferpipe.zoo.build import build_model
from xferpipe.zoo.origins import check_fit, misfits
from xferpipe.zoo.weights import WeightsError


def entry(path, **options):
    return ZooEntry(architecture="cifar_resnet8", weights="file", name=str(path), **options)


def fitting(path):
    model = build_model(ModelSpec.of(entry(path)), 4)
    save_file(model.state_dict(), path)
    return entry(path)


def deeper(path):
    spec = ModelSpec.of(ZooEntry(architecture="cifar_resnet14", weights="random"))
    save_file(build_model(spec, 4).state_dict(), path)
    return entry(path)


def only_raw(path):
    fitting(path)
    return entry(path, ema=True)


def page(path):
    path.write_text("<!doctype html><p>Sign in")
    return entry(path)


def gone(path):
    return entry(path)


def other_names(path):
    model = build_model(ModelSpec.of(entry(path)), 4)
    names = {f"layer_{i}": value for i, value in enumerate(model.state_dict().values())}
    torch.save(names, path)
    return entry(path)


def without_package(path):
    return ZooEntry(architecture="cifar_resnet8", weights="package", name="no-such-package-1")


@pytest.mark.parametrize(
    "make", [fitting, deeper, only_raw, page, gone, other_names, without_package]
)
def test_plan_and_job_say_the_same_of_a_file(make, tmp_path):
    made = make(tmp_path / "w.safetensors")
    found = misfits({"mine": made})
    job = LoadWeightsJob(
        model="mine",
        spec=ModelSpec.of(made),
        weights=made.weights,
        name=made.name,
        seed=0,
        **{"order": False, "ema": None, "rename": ()} | file_options(made),
    )
    written = {name: tmp_path / name for name in ("weights", "card", "class_means")}
    if make is fitting:
        assert found == []
        check_fit({"mine": made})
        load_weights(job, **written)
        return
    with pytest.raises(WeightsError) as refused:
        load_weights(job, **written)
    assert found == [f"zoo.mine: {refused.value}"]
    with pytest.raises(WeightsError) as told:
        check_fit({"mine": made, "yours": made})
    assert str(told.value) == f"zoo.mine: {refused.value}\nzoo.yours: {refused.value}"
    assert not written["weights"].exists()


def test_weights_that_are_made_or_fetched_are_not_tried():
    zoo = {
        "drawn": ZooEntry(architecture="cifar_resnet8", weights="random"),
        "fetched": ZooEntry(architecture="resnet50", weights="torchvision", name="IMAGENET1K_V1"),
    }
    assert misfits(zoo) == []
