"""Checks of a study's models: that there are such, and that they take the images that they get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from xferpipe.config.known_models import UnknownModelError, known, preprocessing, row_of

if TYPE_CHECKING:
    from xferpipe.config.catalogue import Listed
    from xferpipe.config.recipes import Recipe
    from xferpipe.config.study import Study
    from xferpipe.config.zoo import ZooEntry


def models_fit(study: Study) -> None:
    """Check the models of the zoo against what is known of them.

    Raises:
        ValueError: A model, or weights of a name, are unknown; a model cannot be used, or does not
            take the side of the images that it gets. Names the key, and what the model takes.
    """
    for name, entry in study.zoo.items():
        _is_known(name, entry)
    for model, block, recipe_name, dataset in dict.fromkeys(_meetings(study)):
        recipe = getattr(study, block)[recipe_name] if recipe_name else None
        px = study.datasets[dataset].image_px
        _takes(study.zoo[model], model, f"{block}.{recipe_name}", recipe, dataset, px)


def _is_known(name: str, entry: ZooEntry) -> None:
    pretrained = entry.weights in ("timm", "torchvision")
    if pretrained and entry.architecture.startswith("timm:") != (entry.weights == "timm"):
        other = "torchvision" if entry.weights == "timm" else "timm"
        raise ValueError(
            f"zoo.{name}.weights: {entry.weights} has no weights of {entry.architecture}; did you "
            f"mean weights: {other}?"
        )
    plain, _, tag = entry.architecture.partition(".")
    if entry.weights == "timm" and tag:
        raise ValueError(
            f"zoo.{name}.architecture: {entry.architecture} has a tag; write architecture: {plain} "
            f"and name: {tag}"
        )
    try:
        known(entry.architecture)
    except UnknownModelError as error:
        raise ValueError(f"zoo.{name}.architecture: {error}") from None
    try:
        row = known(entry.architecture, entry.name if pretrained else None)
    except UnknownModelError as error:
        raise ValueError(f"zoo.{name}.name: {error}") from None
    if row is None:
        return
    if row.problem:
        raise ValueError(
            f"zoo.{name}: {entry.architecture} cannot be used: it {row.problem}; take another model"
        )
    if entry.image_px is not None and row.fixed and not row.takes(entry.image_px):
        raise ValueError(
            f"zoo.{name}.image_px: {entry.architecture} cannot be built for images of "
            f"{entry.image_px} px; sides that it takes: {row.sides()}"
        )


def _meetings(study: Study) -> Iterator[tuple[str, str, str, str]]:
    """Yield (model, block of the recipe, recipe, data set) where a model sees images.

    The recipe is "" for images as they are, from which features are taken.
    """
    for run in study.possible_runs():
        dataset = study.targets[run.target].dataset
        yield run.model, "finetuning_recipes", run.recipe, dataset
        yield run.model, "finetuning_recipes", "", dataset
    for name, entry in study.zoo.items():
        if entry.weights == "pretrain":
            yield name, "pretraining_recipes", entry.recipe, entry.source


def _takes(
    entry: ZooEntry, model: str, where: str, recipe: Recipe | None, dataset: str, px: int
) -> None:
    row = row_of(entry)
    # A hyper-rule sets the sizes itself, when the images are counted.
    if row is None or (recipe is not None and recipe.hyperrule is not None):
        return
    built = preprocessing(entry)["image_px"]
    sized = recipe is not None and recipe.gives_sizes
    for side in recipe.sides(px) if sized else (built or px,):
        if _is_taken(row, built, side):
            continue
        gets = f"{where} gives it" if sized else f"data set {dataset!r} has"
        takes = f"is built for {built} px" if row.fixed else f"takes {row.sides()}"
        cure = "set image_px of the zoo entry" if not sized else "change the sizes of the recipe"
        if sized and row.takes(side):
            cure = f"set image_px: {side} of the zoo entry"
        raise ValueError(
            f"zoo.{model}: {entry.architecture} {takes}, but {gets} images of {side} px; {cure}"
        )


def _is_taken(row: Listed, built: int | None, side: int) -> bool:
    if row.fixed:
        return side == built
    # Where no step is known, the library itself did not say.
    return row.takes(side)
