"""What of a study is drawn or cut, told from the study alone."""

from pathlib import Path

import pytest

from xferpipe.config import load_study
from xferpipe.config.stand_ins import StandIns, stand_ins
from xferpipe.graph.stages import job_of

STUDIES = Path(__file__).parents[2] / "studies"

STUDY = {
    "name": "small",
    "datasets": {
        "photos": {"reader": "image_folder", "root": "photos", "image_px": 64},
        "letters": {"reader": "generated", "kind": "letters"},
        "digits": {"reader": "digits"},
    },
    "targets": {"photos": {"dataset": "photos"}, "letters": {"dataset": "letters"}},
    "pretraining_recipes": {"long": {"epochs": 90, "train_crop_size": 64}},
    "finetuning_recipes": {"sgd": {"epochs": 20}, "same": {"epochs": 5}},
    "zoo": {
        "net": {"architecture": "resnet50", "weights": "torchvision", "name": "IMAGENET1K_V2"},
        "own": {
            "architecture": "cifar_resnet20",
            "weights": "pretrain",
            "source": "photos",
            "recipe": "long",
        },
    },
    "smoke": {
        "targets": {"photos": {"dataset": "digits"}},
        "pretraining_recipes": {"long": {"epochs": 1, "train_crop_size": 16}},
        "finetuning_recipes": {"sgd": {"epochs": 1}},
        "zoo": {
            "net": {"architecture": "resnet18", "weights": "random", "name": None},
            "own": {"architecture": "cifar_resnet8", "source": "letters"},
        },
    },
}


def test_stand_ins_of_a_whole_study_are_its_drawn_images_alone():
    assert stand_ins(load_study(STUDY)) == StandIns(
        targets={"letters": ("drawn letters at 16 px",)}
    )


def test_stand_ins_of_a_smoke_form_say_what_stands_for_what():
    assert stand_ins(load_study(STUDY, smoke=True)) == StandIns(
        targets={
            "photos": ("UCI digits at 16 px in place of photos at 64 px",),
            "letters": ("drawn letters at 16 px",),
        },
        models={
            "net": (
                "resnet18 in place of resnet50",
                "no pretraining in place of weights from torchvision",
            ),
            "own": (
                "cifar_resnet8 in place of cifar_resnet20",
                "pretrained on drawn letters at 16 px in place of photos at 64 px",
                "pretrained for 1 epoch in place of 90 epochs",
            ),
        },
        recipes={"sgd": ("1 epoch in place of 20 epochs",)},
    )


def test_stand_ins_of_rendered_vehicles_name_them():
    found = stand_ins(load_study(STUDIES / "s000.yaml", smoke=True))
    assert found.targets == {
        "veri776": ("rendered vehicles at 32 px in place of veri776 at 224 px",)
    }
    assert found.recipes["linear_stride2_1"] == (
        "2 epochs in place of 10 epochs",
        "crops of 32 px in place of crops of 224 px",
    )


@pytest.mark.parametrize("name", ["s000", "s001", "s002", "s003", "s004"])
def test_report_job_of_a_published_study_has_stand_ins_in_its_smoke_form_alone(name):
    path = STUDIES / f"{name}.yaml"
    assert job_of(load_study(path), "report").stand_ins == StandIns()
    found = job_of(load_study(path, smoke=True), "report").stand_ins
    assert all((found.targets, found.models, found.recipes))


def test_report_job_without_anything_published_has_no_stand_ins():
    assert job_of(load_study(STUDY, smoke=True), "report").stand_ins == StandIns()
