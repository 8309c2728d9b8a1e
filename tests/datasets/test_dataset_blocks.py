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
