"""BiT-HyperRule's numbers, as its paper (section 3.3) and its code print them."""

from __future__ import annotations

import pytest

from xferpipe.config.recipes import Recipe
from xferpipe.training.resolve import resolve


@pytest.mark.parametrize(
    ("images", "supports", "mixup"),
    [
        (1_000, (0, 150, 300, 450, 500), 0.0),
        (19_999, (0, 150, 300, 450, 500), 0.0),
        (20_000, (0, 3000, 6000, 9000, 10_000), 0.1),
        (499_999, (0, 3000, 6000, 9000, 10_000), 0.1),
        (500_000, (0, 6000, 12_000, 18_000, 20_000), 0.1),
        (1_000_000, (0, 6000, 12_000, 18_000, 20_000), 0.1),
    ],
)
def test_hyperrule_of_the_paper_by_data_set_size(images, supports, mixup):
    recipe = resolve(Recipe(preset="bit_hyperrule"), images=images, image_px=224)
    assert (recipe.lr_supports, recipe.steps) == (supports, supports[-1])
    assert recipe.mixup_alpha == mixup
    assert (recipe.lr, recipe.momentum, recipe.batch_size) == (0.003, 0.9, 512)
    assert (recipe.weight_decay, recipe.surgery.zero_head) == (0.0, True)


@pytest.mark.parametrize(
    ("images", "supports"),
    [
        (1_000, (100, 200, 300, 400, 500)),
        (20_000, (500, 3000, 6000, 9000, 10_000)),
        (500_000, (500, 6000, 12_000, 18_000, 20_000)),
        (1_000_000, (500, 6000, 12_000, 18_000, 20_000)),
    ],
)
def test_hyperrule_of_the_code_by_data_set_size(images, supports):
    recipe = resolve(Recipe(preset="bit_hyperrule_code"), images=images, image_px=224)
    assert recipe.lr_supports == supports


@pytest.mark.parametrize(
    ("preset", "px", "resize", "crop"),
    [
        ("bit_hyperrule", 32, 160, 128),
        ("bit_hyperrule", 95, 160, 128),
        ("bit_hyperrule", 96, 448, 384),
        ("bit_hyperrule_code", 32, 160, 128),
        ("bit_hyperrule_code", 224, 512, 480),
    ],
)
def test_hyperrule_resolution_by_image_area(preset, px, resize, crop):
    recipe = resolve(Recipe(preset=preset), images=1000, image_px=px)
    assert (recipe.train_resize_size, recipe.train_crop_size) == (resize, crop)
    assert recipe.val_crop_size == crop


def test_hyperrule_keeps_what_the_user_turned_off():
    recipe = Recipe(preset="bit_hyperrule", horizontal_flip=0.0)
    assert resolve(recipe, images=1000, image_px=32).horizontal_flip == 0.0


@pytest.mark.parametrize(
    ("images", "own", "expected"),
    [
        # BiT's train.py: with replacement where the set is smaller than the batch.
        (511, {}, "replacement"),
        (512, {}, "shuffle"),
        (50, {"batch_size": 32}, "shuffle"),
        (50, {"sampler": "pk"}, "pk"),
        (50, {"ra_reps": 2}, "shuffle"),
    ],
)
def test_hyperrule_fills_its_batch_from_few_images(images, own, expected):
    recipe = resolve(Recipe(preset="bit_hyperrule", **own), images=images, image_px=32)
    assert recipe.sampler == expected


@pytest.mark.parametrize(
    ("own", "train", "val"),
    [
        # The crop is off where it would destroy the label: both sides are one.
        ({"train_resize_size": 128}, (128, 128), (128, 128)),
        ({"train_crop_size": 160}, (160, 160), (160, 160)),
        ({"train_resize_size": 96}, (96, 96), (96, 96)),
        ({"train_crop_size": 192}, (192, 192), (192, 192)),
        ({"train_resize_size": 80, "train_crop_size": 64}, (80, 64), (64, 64)),
        ({"val_resize_size": 144}, (160, 128), (144, 128)),
        ({"val_crop_size": 144}, (160, 128), (144, 144)),
    ],
)
def test_hyperrule_keeps_the_sides_that_the_user_set(own, train, val):
    recipe = resolve(Recipe(preset="bit_hyperrule", **own), images=1000, image_px=32)
    assert (recipe.train_resize_size, recipe.train_crop_size) == train
    assert (recipe.val_resize_size, recipe.val_crop_size) == val


def test_recipe_without_hyperrule_is_left_alone():
    recipe = Recipe(lr=0.1)
    assert resolve(recipe, images=10, image_px=32) is recipe


def test_hyperrule_ends_earlier_on_the_same_schedule_where_the_study_says_so():
    recipe = resolve(Recipe(preset="bit_hyperrule", steps=3), images=1000, image_px=32)
    assert (recipe.steps, recipe.lr_supports[-1]) == (3, 500)
