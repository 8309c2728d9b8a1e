"""What stands in for what a study is published of: drawn images, and what its smoke form cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from xferpipe.config.base import Block

if TYPE_CHECKING:
    from xferpipe.config.recipes import Recipe
    from xferpipe.config.study import Study
    from xferpipe.config.zoo import ZooEntry

Words = dict[str, tuple[str, ...]]


class StandIns(Block):
    """What stands in for what, in words, by name; what is as the full form has it is left out."""

    targets: Words = Field(default_factory=dict)
    models: Words = Field(default_factory=dict)
    recipes: Words = Field(default_factory=dict)


def stand_ins(study: Study) -> StandIns:
    """Say what of a study is drawn, or other than in its full form.

    Args:
        study: A study. A smoke form is held against its `whole`.
    Returns:
        Words such as `drawn shapes at 32 px in place of cifar10 at 32 px`, by target, zoo entry and
        fine-tuning recipe.
    """
    whole = study.whole or study
    before = {name: target.dataset for name, target in whole.targets.items()}
    targets = {
        name: _images(study, target.dataset, whole, before.get(name))
        for name, target in study.targets.items()
    }
    models = {
        name: _model(study, study.zoo[name], whole, whole.zoo.get(name)) for name in study.zoo
    }
    recipes = {
        name: _training(recipe, whole.finetuning_recipes.get(name))
        for name, recipe in study.finetuning_recipes.items()
    }
    return StandIns(targets=_kept(targets), models=_kept(models), recipes=_kept(recipes))


def _kept(found: dict[str, list[str]]) -> Words:
    """Leave out what is empty."""
    kept = {name: tuple(part for part in parts if part) for name, parts in found.items()}
    return {name: parts for name, parts in kept.items() if parts}


def _images(study: Study, name: str, whole: Study, before: str | None) -> list[str]:
    """Name a data set's images where they are drawn, or not those of the full form."""
    words, drawn = _named(study, name)
    if before is None or whole.datasets[before] == study.datasets[name]:
        return [words] if drawn else []
    return [_instead(words, _named(whole, before)[0])]


def _named(study: Study, name: str) -> tuple[str, bool]:
    """Name a data set's images, and tell whether they are drawn."""
    dataset = study.datasets[name]
    words, drawn = name, False
    if dataset.reader == "generated":
        words, drawn = f"drawn {dataset.kind}", True
    elif getattr(dataset, "generate", None) is not None:
        words, drawn = "rendered vehicles", True
    elif dataset.reader == "digits":
        words = "UCI digits"
    return f"{words} at {dataset.image_px} px", drawn


def _model(study: Study, entry: ZooEntry, whole: Study, was: ZooEntry | None) -> list[str]:
    """Say what network an entry is, and what it was trained on and for how long."""
    found = []
    if was is not None:
        found.append(_instead(entry.architecture, was.architecture))
        if entry.weights == "random" and was.weights != "random":
            found.append(f"no pretraining in place of weights from {was.weights}")
    if entry.source is not None:
        images = _images(study, entry.source, whole, was and was.source)
        lengths = _training(_recipe(study, entry), _recipe(whole, was))[:1]
        found += [f"pretrained on {words}" for words in images if words]
        found += [f"pretrained for {words}" for words in lengths if words]
    return found


def _recipe(study: Study, entry: ZooEntry | None) -> Recipe | None:
    """Return the recipe that an entry is pretrained with, alone or as a domain of an expert."""
    if entry is None or entry.source is None:
        return None
    name = entry.recipe if entry.expert is None else study.experts[entry.expert].recipe
    return study.pretraining_recipes[name]


def _training(recipe: Recipe, was: Recipe | None) -> list[str]:
    """Say how long a recipe trains and at which side, where that is not as in the full form."""
    if was is None:
        return []
    sides = [one.train_crop_size for one in (recipe, was)]
    crops = "" if None in sides else _instead(*(f"crops of {side} px" for side in sides))
    return [_instead(_length(recipe), _length(was)), crops]


def _length(recipe: Recipe) -> str:
    if recipe.steps is not None:
        return f"{recipe.steps} steps"
    if recipe.hyperrule is not None:
        return "the steps of the hyper-rule"
    return "1 epoch" if recipe.epochs == 1 else f"{recipe.epochs} epochs"


def _instead(words: str, before: str) -> str:
    return "" if words == before else f"{words} in place of {before}"
