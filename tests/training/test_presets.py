"""Presets: published figures, and how keys are laid over them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from xferpipe.config.presets import PRESETS
from xferpipe.config.recipes import Recipe


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_a_recipe_that_its_own_slice_gives_again(name):
    recipe = Recipe(preset=name)
    assert recipe.preset is None
    assert Recipe.model_validate(recipe.model_dump()) == recipe


def test_keys_win_over_the_preset():
    recipe = Recipe(preset="s000_finetune_1", epochs=15)
    assert (recipe.epochs, recipe.lr, recipe.pca_lighting) == (15, 0.5, "alexnet")


def test_unknown_preset_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValidationError, match=r"unknown preset 'x'; allowed: .*bit_hyperrule"):
        Recipe(preset="x")


@pytest.mark.parametrize(
    ("name", "colour", "jitter"),
    [(1, True, False), (2, False, True), (3, False, False), (4, True, True)],
)
def test_s000_recipes_differ_in_colour_alone(name, colour, jitter):
    recipe = Recipe(preset=f"s000_finetune_{name}")
    assert (recipe.pca_lighting is not None, recipe.color_jitter is not None) == (colour, jitter)
    assert (recipe.epochs, recipe.lr, recipe.weight_decay) == (10, 0.5, 2e-5)
    assert (recipe.label_smoothing, recipe.random_erase) == (0.1, 0.1)
    assert (recipe.lr_scheduler, recipe.lr_warmup_epochs, recipe.lr_warmup_decay) == (
        "cosine",
        5,
        0.01,
    )


def test_torchvision_recipes_have_the_published_values():
    first, second = Recipe(preset="torchvision_v1"), Recipe(preset="torchvision_v2")
    assert (first.batch_size, first.epochs, first.lr) == (32 * 8, 90, 0.1)
    assert (first.lr_scheduler, first.lr_step_size, first.lr_gamma) == ("step", 30, 0.1)
    assert (second.batch_size, second.epochs, second.lr) == (128 * 8, 600, 0.5)
    assert (second.mixup_alpha, second.cutmix_alpha, second.ra_reps) == (0.2, 1.0, 4)
    assert (second.train_crop_size, second.val_resize_size) == (176, 232)
    assert (second.norm_weight_decay, second.model_ema) == (0.0, True)


def test_s001_layer_rates_are_those_of_the_study():
    recipe = Recipe(preset="s001_full_layer_lrs")
    assert recipe.layer_lrs == {"stem": 7e-3, "head": 1e-2}
    assert recipe.lr == 5e-3
    without = Recipe(preset="s001_full_layer_lrs_without_bn1")
    assert "stem_convolution" in without.train_layers
    assert "stem" not in without.train_layers


def test_bit_upstream_scales_its_rate_with_the_batch():
    recipe = Recipe(preset="bit_upstream")
    assert recipe.lr == pytest.approx(0.48)
    assert (recipe.lr_milestones, recipe.lr_warmup_steps) == ((30, 60, 80), 5000)
    large = Recipe(preset="bit_upstream_large")
    assert (large.epochs, large.lr_milestones) == (40, (10, 23, 30, 37))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cross_entropy_triplet", "mixup_alpha": 0.1}, "identities"),
        ({"cache_features": True}, "train_layers: head"),
        ({"cache_features": True, "train_layers": "head", "horizontal_flip": 0.5}, "augmentation"),
        ({"preset": "linear_probe", "surgery": {"head": "fc512"}}, "surgery.head: fc512"),
        ({"preset": "linear_probe", "surgery": {"head": "bnneck"}}, "cache_features: false"),
        ({"surgery": {"lora": {}}}, "head, adapters"),
        ({"sampler": "pk", "ra_reps": 2}, "ra_reps: 2 is for sampler: shuffle"),
        ({"lr_scheduler": "supports"}, "lr_supports"),
        ({"lr_warmup_epochs": 3, "epochs": 3}, "must be below epochs"),
        ({"no_such_key": 1}, "Extra inputs"),
    ],
)
def test_recipe_that_cannot_be_run_is_an_error(options, message):
    with pytest.raises(ValidationError, match=message):
        Recipe(**options)


def test_options_of_an_algorithm_are_in_the_slice_when_it_is_used():
    assert Recipe().swa is None
    assert Recipe(algorithm="swa").swa.epochs == 10
    assert Recipe(algorithm="rsgd", rsgd={"replicas": 5}).rsgd.replicas == 5


def test_recipes_for_foundation_backbones_have_the_published_values():
    # DINOv2's k-NN; RoBERTa base of the LoRA paper; WiSE-FT's fine-tuning of CLIP.
    knn = Recipe(preset="knn").surgery.knn
    assert (knn.neighbours, knn.temperature) == (20, 0.07)
    lora = Recipe(preset="lora")
    assert (lora.opt, lora.lr) == ("adamw", 5e-4)
    assert (lora.surgery.lora.rank, lora.surgery.lora.alpha) == (8, 8.0)
    full = Recipe(preset="full_finetune")
    assert (full.opt, full.lr, full.weight_decay) == ("adamw", 3e-5, 0.1)
    assert (full.epochs, full.lr_scheduler, full.train_layers) == (10, "cosine", "all")


@pytest.mark.parametrize("architecture", ["cifar_resnet8", "resnet18", "timm:test_vit"])
@pytest.mark.parametrize("name", ["knn", "lora", "full_finetune", "linear_probe"])
def test_recipe_for_foundation_backbones_fits_any_backbone(name, architecture):
    from xferpipe.config.jobs import ModelSpec
    from xferpipe.training.parameters import freeze
    from xferpipe.zoo.build import build_model, outputs_of
    from xferpipe.zoo.surgery import operate

    recipe = Recipe(preset=name)
    spec = ModelSpec(architecture=architecture, width=4, mean=(0.5,) * 3, std=(0.5,) * 3)
    model = build_model(spec, 0)
    operate(model, recipe.surgery, outputs=3, seed=0)
    assert outputs_of(model) == 3
    if not recipe.remembers:
        freeze(model, recipe)
        assert any(parameter.requires_grad for parameter in model.parameters())
