"""Recipes that follow from the data set: BiT-HyperRule as pure functions.

Source:
    Kolesnikov et al. 2020, arXiv 1912.11370 (section 3.3), and `bit_hyperrule.py` of its code.
"""

from __future__ import annotations

from xferpipe.config.recipes import Recipe

SMALL, MEDIUM = 20_000, 500_000
_CODE_SUPPORTS = {
    "small": (100, 200, 300, 400, 500),
    "medium": (500, 3000, 6000, 9000, 10_000),
    "large": (500, 6000, 12_000, 18_000, 20_000),
}
_STEPS = {"small": 500, "medium": 10_000, "large": 20_000}


def resolve(recipe: Recipe, *, images: int, image_px: int) -> Recipe:
    """Return the recipe with nothing left to follow from the data set.

    Args:
        recipe: As the study has it.
        images: Training images.
        image_px: Side of the data set's images.
    Returns:
        The recipe itself, unless it is a hyper-rule.
    """
    if recipe.hyperrule is None:
        return recipe
    resize, crop = _sides(
        recipe.train_resize_size, recipe.train_crop_size, *resolution(recipe.hyperrule, image_px)
    )
    val_resize, val_crop = _sides(recipe.val_resize_size, recipe.val_crop_size, crop, crop)
    supports = schedule(recipe.hyperrule, images)
    changes = {
        "hyperrule": None,
        # A study may end the run earlier, on the same schedule.
        "steps": recipe.steps or supports[-1],
        "lr_scheduler": "supports",
        "lr_supports": supports,
        "mixup_alpha": mixup(images),
        "train_resize_size": resize,
        "train_crop_size": crop,
        "val_resize_size": val_resize,
        "val_crop_size": val_crop,
    }
    if images < recipe.batch_size and recipe.sampler == "shuffle" and recipe.ra_reps == 1:
        # One pass would be a smaller batch, for which the rule's rate and steps are not made.
        changes["sampler"] = "replacement"
    return Recipe.model_validate(recipe.model_dump() | changes)


def size_class(images: int) -> str:
    """Return `small`, `medium` or `large`."""
    return "small" if images < SMALL else "medium" if images < MEDIUM else "large"


def schedule(rule: str, images: int) -> tuple[int, ...]:
    """Return the supports: end of the warm-up, drops, last step.

    The paper drops at 30, 60 and 90 % without a warm-up; its code has one.
    """
    size = size_class(images)
    if rule == "code":
        return _CODE_SUPPORTS[size]
    steps = _STEPS[size]
    return (0, *(steps * share // 100 for share in (30, 60, 90)), steps)


def resolution(rule: str, image_px: int) -> tuple[int, int]:
    """Return the sides in pixels of resize and crop."""
    if image_px * image_px < 96 * 96:
        return 160, 128
    return (448, 384) if rule == "paper" else (512, 480)


def _sides(own_resize: int | None, own_crop: int | None, resize: int, crop: int) -> tuple[int, int]:
    """Return the sides of resize and crop: the recipe's own, and for the other the rule's as far
    as it fits. Two equal sides crop nothing off, as BiT wants where that destroys the label."""
    crop = own_crop or min(crop, own_resize or crop)
    return own_resize or max(resize, crop), crop


def mixup(images: int) -> float:
    """Return mixup's alpha: none for small data sets."""
    return 0.0 if images < SMALL else 0.1
