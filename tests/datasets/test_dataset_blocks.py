"""What a study may say about data sets, and what is refused before any job starts."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from xferpipe.config import StudyError, load_study
from xferpipe.config.datasets import Dataset

ADAPTER = TypeAdapter(Dataset)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"reader": "digits", "classes": [3, 10]}, r"\[10\] are no digits; allowed: 0 to 9"),
        ({"reader": "digits", "classes": [3, 3]}, "two or more different digits"),
        ({"reader": "digits", "classes": [3]}, "two or more different digits"),
        ({"reader": "digits", "pack": False}, "Input should be True"),
        ({"reader": "generated", "kind": "letters", "pack": False}, "Input should be True"),
        ({"reader": "generated", "kind": "cats"}, "'shapes', 'textures' or 'letters'"),
        (
            {"reader": "generated", "kind": "letters", "classes": 14, "first_class": 13},
            "ask for class 26; allowed: 0 to 25",
        ),
        ({"reader": "image_folder"}, "Field required"),
        ({"reader": "image_folder", "root": "x", "fit": "pad"}, "'crop' or 'stretch'"),
        ({"reader": "veri776"}, "set exactly one of 'root'"),
    ],
)
def test_dataset_block_impossible_value_is_refused(block, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(block)


def study(shots, **dataset):
    return {
        "name": "study",
        "datasets": {"digits": {"reader": "digits", **dataset}},
        "targets": {"digits": {"dataset": "digits"}},
        "finetuning_recipes": {"plain": {}},
        "zoo": {"net": {"architecture": "cifar_resnet8", "weights": "random"}},
        "finetunes": [{"shots": [shots], "recipes": ["plain"]}],
    }


def test_load_study_more_shots_than_a_class_has_names_class_and_allowed():
    # 174 eights: 35 (20 %) test, 28 of the other 139 validate, 111 train.
    load_study(study(111))
    with pytest.raises(
        StudyError, match=r"shots 112 .*class '8', which has 111 .*1 to 111, or full"
    ):
        load_study(study(112))
    with pytest.raises(StudyError, match="allowed: 1 to 8, or full"):
        load_study(study(9, maximum_images_per_class=10))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            {"train_crop_size": 24},
            r"train_crop_size \(24\) .* 16 px .*train_resize_size, or image_px",
        ),
        ({"train_crop_size": 21, "crop_padding_px": 2}, r"train_crop_size \(21\) .* 20 px"),
        ({"val_crop_size": 17}, r"val_crop_size \(17\) .* 16 px .*val_resize_size, or image_px"),
    ],
)
@pytest.mark.parametrize("block", ["finetuning_recipes", "pretraining_recipes"])
def test_load_study_crop_larger_than_the_images_is_refused(recipe, message, block):
    content = study("full")
    content["pretraining_recipes"] = {"source": {}}
    content["zoo"]["net"] = {
        "architecture": "cifar_resnet8",
        "weights": "pretrain",
        "source": "digits",
        "recipe": "source",
    }
    load_study(content)
    name = "plain" if block == "finetuning_recipes" else "source"
    content[block] = {name: recipe}
    with pytest.raises(StudyError, match=rf"{block}\.{name} with data set 'digits': {message}"):
        load_study(content)


@pytest.mark.parametrize(
    "recipe",
    [
        {"train_crop_size": 20, "crop_padding_px": 2},
        {"train_crop_size": 64, "random_resized_crop": [0.1, 1]},
        {"train_crop_size": 24, "train_resize_size": 32},
        {"val_crop_size": 24, "val_resize_size": 32},
    ],
)
def test_load_study_crop_that_can_be_cut_is_accepted(recipe):
    content = study("full")
    content["finetuning_recipes"] = {"plain": recipe}
    load_study(content)
