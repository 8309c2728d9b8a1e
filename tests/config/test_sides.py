"""What a study is told of its models before anything runs."""

from __future__ import annotations

import pytest

from xferpipe.config import StudyError, load_study

DINOV2 = {"architecture": "timm:vit_base_patch14_dinov2", "weights": "timm", "name": "lvd142m"}
RESNET = {"architecture": "resnet18", "weights": "torchvision", "name": "IMAGENET1K_V1"}


def study(entry, *, px=64, **recipe):
    return load_study(
        {
            "name": "sides",
            "datasets": {"digits": {"reader": "digits", "image_px": px}},
            "targets": {"digits": {"dataset": "digits"}},
            "zoo": {"model": entry},
            "finetuning_recipes": {"plain": {"epochs": 1, **recipe}},
            "finetunes": [{"recipes": ["plain"]}],
        }
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (RESNET | {"architecture": "resnet81"}, "zoo.model.architecture: 'resnet81' is unknown"),
        (
            RESNET | {"name": "IMAGENET1K_V7"},
            "zoo.model.name: torchvision has no weights 'IMAGENET",
        ),
        (DINOV2 | {"name": "in1k"}, "zoo.model.name: timm has no weights 'in1k'.*has: lvd142m"),
        (
            DINOV2 | {"architecture": "timm:vit_base_patch14_dinov"},
            "zoo.model.architecture: .* did you mean timm:vit_base_patch14_dinov2",
        ),
        (
            RESNET | {"weights": "timm"},
            "timm has no weights of resnet18; did you mean .*torchvision",
        ),
        (
            DINOV2 | {"architecture": "timm:vit_base_patch14_dinov2.lvd142m"},
            "has a tag; write architecture: timm:vit_base_patch14_dinov2 and name: lvd142m",
        ),
        (
            DINOV2 | {"image_px": 225},
            "image_px: .* of 225 px; sides that it takes: multiples of 14",
        ),
        (
            {"architecture": "timm:deit_tiny_distilled_patch16_224", "weights": "random"},
            "cannot be used: it has several classifiers",
        ),
    ],
)
def test_model_that_cannot_be_is_refused(entry, words):
    with pytest.raises(StudyError, match=words):
        study(entry)


def test_model_of_one_side_runs_on_any_data_set():
    study(DINOV2)
    study(DINOV2 | {"image_px": 224})
    study(RESNET)


def test_recipe_that_gives_another_side_than_a_model_is_built_for_is_refused():
    sized = {"train_crop_size": 56, "val_crop_size": 56}
    with pytest.raises(
        StudyError, match=r"is built for 518 px, but finetuning_recipes.plain gives"
    ):
        study(DINOV2, **sized)
    with pytest.raises(StudyError, match="images of 56 px; set image_px: 56 of the zoo entry"):
        study(DINOV2, **sized)
    study(DINOV2 | {"image_px": 56}, **sized)
    with pytest.raises(StudyError, match="of 60 px; change the sizes of the recipe"):
        study(DINOV2, train_crop_size=60, val_crop_size=60)


def test_data_set_whose_side_a_model_does_not_take_is_refused():
    dinov3 = {"architecture": "timm:vit_base_patch16_dinov3", "weights": "random"}
    study(dinov3, px=64)
    with pytest.raises(StudyError, match=r"takes multiples of 16, but data set 'digits' has .* 60"):
        study(dinov3, px=60)
    study(dinov3 | {"image_px": 64}, px=60)
    with pytest.raises(StudyError, match=r"alexnet takes any from 63 on, but .* 32 px"):
        study({"architecture": "alexnet", "weights": "random"}, px=32)
