"""What a k-NN recipe may stand beside."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from xferpipe.config.load import StudyError, load_study
from xferpipe.config.recipes import Recipe

KNN = {"surgery": {"knn": {}}}


def study(**changes) -> dict:
    return {
        "name": "votes",
        "datasets": {"digits": {"reader": "digits"}},
        "targets": {"digits": {"dataset": "digits"}},
        "finetuning_recipes": {"vote": KNN},
        "zoo": {"drawn": {"architecture": "cifar_resnet8", "weights": "random"}},
        "finetunes": [{"recipes": ["vote"]}],
        **changes,
    }


def test_published_values_are_the_defaults():
    knn = Recipe.model_validate(KNN).surgery.knn
    assert (knn.neighbours, knn.temperature) == (20, 0.07)
    assert Recipe(preset="knn").surgery.knn == knn


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 5),
        ("loss", "cross_entropy_triplet"),
        ("horizontal_flip", 0.5),
        ("mixup_alpha", 0.2),
        ("class_weights", "balanced"),
        ("processes", 2),
        ("train_layers", "head"),
        ("model_ema", True),
    ],
)
def test_option_of_training_beside_it_is_refused_by_name(key, value):
    with pytest.raises(ValidationError, match=rf"knn trains nothing, so {key} would do nothing"):
        Recipe(**KNN, **{key: value})


@pytest.mark.parametrize("part", [{"head": "bnneck"}, {"lora": {}}, {"stem": "small_image"}])
def test_new_layers_beside_it_would_stay_untrained_and_are_refused(part):
    with pytest.raises(ValidationError, match=f"what {next(iter(part))} adds"):
        Recipe(surgery={"knn": {}, **part})


def test_sizes_of_evaluation_may_stand_beside_it():
    assert Recipe(**KNN, val_resize_size=24, val_crop_size=16).remembers


def test_retrieval_target_is_refused():
    vehicles = {"reader": "veri776", "generate": {}}
    content = study(
        datasets={"cars": vehicles}, targets={"cars": {"dataset": "cars", "task": "retrieval"}}
    )
    with pytest.raises(StudyError, match=r"finetuning_recipes.vote: .*retrieval target"):
        load_study(content)


def test_pretraining_and_references_need_a_recipe_that_trains():
    trained = {
        "architecture": "cifar_resnet8",
        "weights": "pretrain",
        "source": "digits",
        "recipe": "vote",
    }
    with pytest.raises(StudyError, match=r"zoo\.own\.recipe: pretraining_recipes\.vote has"):
        load_study(study(zoo={"own": trained}, pretraining_recipes={"vote": KNN}))


def test_ordinary_study_with_it_loads():
    assert load_study(study()).finetuning_recipes["vote"].fixed_features
