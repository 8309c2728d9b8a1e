"""Checks across the blocks of a study: what no block can tell of itself, before any job starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xferpipe.config.datasets import CLASSIFICATION_READERS, RETRIEVAL_READERS
from xferpipe.config.nearest import suggestion
from xferpipe.config.retrieval import AS_IS
from xferpipe.config.sides import models_fit

if TYPE_CHECKING:
    from xferpipe.config.experts import Expert
    from xferpipe.config.study import Run, Study

#: Keys of a recipe that the training of experts does nothing with: domains take turns in batches of
#: their own, and the structure is that of the expert's mode. And what is allowed there.
_NOT_FOR_EXPERTS = {
    "surgery": (None,),
    "processes": (1,),
    "sampler": ("shuffle",),
    "ra_reps": (1,),
    "hyperrule": (None,),
    "cache_features": (False,),
    "model_ema": (False,),
    "algorithm": ("plain", "sam"),
}


def check(study: Study) -> None:
    """Check every name that one block uses of another, and what only two blocks together tell.

    Raises:
        ValueError: A name is not defined, or blocks do not go together; names the key.
    """
    _targets_fit(study)
    _evaluated_fit(study)
    _name_is_of_no_smoke_form(study)
    _zoo_is_whole(study)
    _finetunes_fit(study)
    _races_fit(study)
    _exports_fit(study)
    models_fit(study)
    _runs_fit(study)
    _crops_fit(study)
    if (reference := study.scores.reference) is not None:
        _known("scores.reference.model", reference.model, study.zoo)
        _known("scores.reference.recipe", reference.recipe, study.finetuning_recipes)
    if study.minimisers is not None:
        study.minimisers.check(study.zoo, study.pretraining_recipes, study.finetuning_recipes)
    _trainings_train(study)
    tables = {"target": study.targets, "model": study.zoo, "recipe": study.finetuning_recipes}
    for where, kind, name in study.report.names():
        _known(where, name, tables[kind])
    _features_are_taken(study)
    if study.selection.reference_model is not None:
        _known("selection.reference_model", study.selection.reference_model, study.zoo)


def _targets_fit(study: Study) -> None:
    if not study.targets:
        raise ValueError("targets: at least one is needed")
    for name, target in study.targets.items():
        _known(f"targets.{name}.dataset", target.dataset, study.datasets)
        reader = study.datasets[target.dataset].reader
        allowed = RETRIEVAL_READERS if target.task == "retrieval" else CLASSIFICATION_READERS
        if reader not in allowed:
            raise ValueError(
                f"targets.{name}.task: {target.task} cannot be evaluated on reader {reader!r}; "
                f"allowed readers: {', '.join(allowed)}"
            )
        lists = study.retrieval.junk_rule == "index_lists"
        if lists and target.task == "retrieval" and reader != "veri776":
            raise ValueError(
                f"retrieval.junk_rule: index_lists are files of VeRi-776, but target {name!r} "
                f"has reader {reader!r}; allowed there: same_camera, same_sequence, none"
            )


def _evaluated_fit(study: Study) -> None:
    """Check what `retrieval.evaluate` names, and that its recipe trains nothing."""
    asked, where = study.retrieval.evaluate, "retrieval.evaluate"
    if not asked:
        return
    for name in () if asked == "all" else asked:
        _known(where, name, study.zoo)
    if not any(target.task == "retrieval" for target in study.targets.values()):
        raise ValueError(
            f"{where}: no target has task: retrieval, so there is no gallery to rank; leave it out"
        )
    if not study.finetuning_recipes[AS_IS].evaluates:
        raise ValueError(
            f"{where}: its runs have recipe {AS_IS!r}, but finetuning_recipes.{AS_IS} trains; give "
            "that recipe another name"
        )


def _name_is_of_no_smoke_form(study: Study) -> None:
    if study.name.endswith("-smoke"):
        raise ValueError(
            f"name {study.name!r} ends in '-smoke', which is how the folder of a smoke form is "
            f"named; write another, as {study.name.removesuffix('-smoke')!r}"
        )


def _zoo_is_whole(study: Study) -> None:
    if not study.zoo:
        raise ValueError("zoo: at least one model is needed")
    for name, entry in study.zoo.items():
        if entry.weights == "pretrain":
            _known(f"zoo.{name}.source", entry.source, study.datasets)
            _known(f"zoo.{name}.recipe", entry.recipe, study.pretraining_recipes)
            if entry.initial is not None:
                _known(f"zoo.{name}.initial", entry.initial, study.zoo)
        if entry.weights == "expert":
            _known(f"zoo.{name}.expert", entry.expert, study.experts)
            sources = study.experts[entry.expert].sources
            _known(f"zoo.{name}.source", entry.source, dict.fromkeys(sources))
        _no_cycle(study, name)
    for name, expert in study.experts.items():
        for source in expert.sources:
            _known(f"experts.{name}.sources", source, study.datasets)
        _known(f"experts.{name}.recipe", expert.recipe, study.pretraining_recipes)
        if expert.initial is not None:
            _known(f"experts.{name}.initial", expert.initial, study.zoo)
        expert.check(name, study.zoo)
        _expert_recipe_fits(study, name, expert)


def _expert_recipe_fits(study: Study, name: str, expert: Expert) -> None:
    recipe = study.pretraining_recipes[expert.recipe]
    for key, allowed in _NOT_FOR_EXPERTS.items():
        value = getattr(recipe, key)
        if value not in allowed:
            said = value if isinstance(value, str | int) else "..."
            words = ", ".join("unset" if one is None else str(one) for one in allowed)
            raise ValueError(
                f"experts.{name}.recipe: {expert.recipe!r} has {key}: {said}, which experts cannot "
                f"be trained with; allowed for them: {words}. Change {key} of "
                f"pretraining_recipes.{expert.recipe}, or name another recipe"
            )


def _trainings_train(study: Study) -> None:
    """Refuse k-NN where a network is to be trained."""
    used = {
        f"zoo.{name}.recipe": ("pretraining_recipes", entry.recipe)
        for name, entry in study.zoo.items()
        if entry.weights == "pretrain"
    }
    used |= {
        f"experts.{name}.recipe": ("pretraining_recipes", expert.recipe)
        for name, expert in study.experts.items()
    }
    if (reference := study.scores.reference) is not None:
        used["scores.reference.recipe"] = ("finetuning_recipes", reference.recipe)
    if study.minimisers is not None and (trained := study.minimisers.continual) is not None:
        used["minimisers.continual.recipe"] = ("finetuning_recipes", trained.recipe)
    for where, (block, name) in used.items():
        if getattr(study, block)[name].evaluates:
            raise ValueError(
                f"{where}: {block}.{name} has epochs: 0, which trains nothing; name a recipe that "
                "trains, or give it epochs"
            )
        if getattr(study, block)[name].remembers:
            raise ValueError(
                f"{where}: {block}.{name} has surgery.knn, which trains nothing; name a recipe "
                "that trains"
            )


def _finetunes_fit(study: Study) -> None:
    for i, grid in enumerate(study.finetunes):
        where = f"finetunes[{i}]"
        for name in () if grid.targets == "all" else grid.targets:
            _known(f"{where}.targets", name, study.targets)
        for name in () if grid.models == "all" else grid.models:
            _known(f"{where}.models", name, study.zoo)
        for name in grid.recipes:
            _known(f"{where}.recipes", name, study.finetuning_recipes)


def _races_fit(study: Study) -> None:
    seen: dict[tuple[str, str], str] = {}
    for i, race in enumerate(study.choose):
        where = f"choose[{i}]"
        named = {"targets": study.targets, "models": study.zoo}
        named["recipes"] = study.finetuning_recipes
        for key, table in named.items():
            names = getattr(race, key)
            for name in () if names == "all" else names:
                _known(f"{where}.{key}", name, table)
            if key == "targets" and (
                blind := [
                    name
                    for name in (table if names == "all" else names)
                    if study.targets[name].validation_fraction == 0
                ]
            ):
                raise ValueError(
                    f"{where}: a race chooses by validation figures, but target {blind[0]!r} has "
                    "validation_fraction: 0; hold a fraction out, or use `finetunes`"
                )
            named_by_all = study.recipes_to_race() if key == "recipes" else table
            if not (named_by_all if names == "all" else names):
                raise ValueError(f"{where}.{key}: a race needs at least one; name some, or `all`")
        if not race.shots:
            raise ValueError(f"{where}.shots: a race needs at least one, as [full]")
        targets = dict.fromkeys(study.targets if race.targets == "all" else race.targets)
        for place in ((target, str(shots)) for target in targets for shots in set(race.shots)):
            if place in seen:
                raise ValueError(
                    f"{where}: target {place[0]!r} with shots {place[1]} has a race already, "
                    f"{seen[place]}; one race each: join the two, or name other targets or shots"
                )
            seen[place] = where


def _exports_fit(study: Study) -> None:
    asked = study.export.targets
    for name in asked if isinstance(asked, tuple) else ():
        _known("export.targets", name, study.targets)
        if not any(target == name for target, _ in study.exported()):
            raise ValueError(
                f"export.targets: nothing is fine-tuned on {name!r}; name it in `finetunes` or "
                "`choose`, or leave it out"
            )


def _runs_fit(study: Study) -> None:
    runs = study.possible_runs()
    for run in dict.fromkeys(run._replace(seed="0") for run in runs):
        _recipe_fits(study, run)
    for target, shots in dict.fromkeys((run.target, run.shots) for run in runs):
        _shots_fit(study, target, shots)


def _no_cycle(study: Study, name: str) -> None:
    path = [name]
    while (initial := _initial(study, path[-1])) is not None and initial in study.zoo:
        if initial in path:
            raise ValueError(f"zoo.{name}.initial: a circle: {' -> '.join([*path, initial])}")
        path.append(initial)


def _initial(study: Study, name: str) -> str | None:
    """Return the zoo entry that an entry's training starts from."""
    entry = study.zoo[name]
    if entry.weights == "expert" and entry.expert in study.experts:
        return study.experts[entry.expert].initial
    return entry.initial


def _recipe_fits(study: Study, run: Run) -> None:
    recipe = study.finetuning_recipes[run.recipe]
    target = study.targets[run.target]
    if target.validation == "within_shots" and run.shots == "1" and recipe.select == "best":
        raise ValueError(
            f"finetuning_recipes.{run.recipe}: select: best, but target {run.target!r} has "
            "validation: within_shots and shots 1: one image a class leaves none to choose the "
            "epoch on; use 2 shots or more, validation: split, or select: last"
        )
    if recipe.remembers and target.task != "classification":
        raise ValueError(
            f"finetuning_recipes.{run.recipe}: surgery.knn names classes by a vote and leaves the "
            f"features as they are, but target {run.target!r} is a retrieval target; leave the "
            "recipe out of its runs"
        )
    if recipe.evaluates and target.task != "retrieval":
        raise ValueError(
            f"finetuning_recipes.{run.recipe}: epochs: 0 ranks a gallery with the model as it is, "
            f"but target {run.target!r} is a classification target, for whose classes the model "
            "has no classifier; train for 1 epoch or more, or leave the recipe out of its runs"
        )
    if target.validation_fraction == 0 and recipe.select == "best" and not recipe.evaluates:
        raise ValueError(
            f"finetuning_recipes.{run.recipe}: select: best, but target {run.target!r} has "
            "validation_fraction: 0, which leaves no image to choose the epoch on; set select: "
            "last, or hold a fraction out"
        )
    if recipe.is_for_identities and target.task != "retrieval":
        raise ValueError(
            f"finetuning_recipes.{run.recipe}: its loss or sampler needs identities, but "
            f"target {run.target!r} is a classification target; "
            "allowed there: loss: cross_entropy, sampler: shuffle"
        )


def _features_are_taken(study: Study) -> None:
    asked, where = study.report.feature_correlation, "report.feature_correlation"
    if asked is None:
        return
    for name in () if asked.recipes == "all" else asked.recipes:
        if study.finetuning_recipes[name].fixed_features:
            raise ValueError(
                f"{where}.recipes: {name!r} leaves the features as they are; leave it out"
            )
    if not any(map(study.takes_features, study.possible_runs())):
        raise ValueError(
            f"{where}: none of the study's fine-tunes is among these targets, shots, models, "
            "recipes and seeds; name some that `finetunes` has, or leave the block out"
        )


def _crops_fit(study: Study) -> None:
    used = [
        ("finetuning_recipes", run.recipe, study.targets[run.target].dataset)
        for run in study.possible_runs()
    ] + [
        ("pretraining_recipes", entry.recipe, entry.source)
        for entry in study.zoo.values()
        if entry.weights == "pretrain"
    ]
    used += [
        ("pretraining_recipes", expert.recipe, source)
        for expert in study.experts.values()
        for source in expert.sources
    ]
    for block, name, dataset in dict.fromkeys(used):
        recipe = getattr(study, block)[name]
        # A hyper-rule sets the sizes itself, for whatever size the images have.
        misfit = recipe.misfit(study.datasets[dataset].image_px)
        if misfit and recipe.hyperrule is None:
            raise ValueError(f"{block}.{name} with data set {dataset!r}: {misfit}")


def _shots_fit(study: Study, name: str, shots: str) -> None:
    target = study.targets[name]
    images = study.datasets[target.dataset].training_images(target.validation_fraction)
    if shots == "full" or images is None:
        return
    rarest = min(images, key=images.__getitem__)
    if int(shots) > images[rarest]:
        raise ValueError(
            f"{_asks_for(study, name, shots)}: shots {shots} asks target {name!r} for {shots} "
            f"training images of class {rarest!r}, which has {images[rarest]} after the test and "
            f"validation parts; allowed: 1 to {images[rarest]}, or full"
        )


def _asks_for(study: Study, target: str, shots: str) -> str:
    """Name the block that has a target fine-tuned on so many images."""
    grid = any((run.target, run.shots) == (target, shots) for run in study.grid_runs())
    return "finetunes" if grid else "choose"


def _known(where: str, name: str, table: Mapping[str, Any]) -> None:
    if name not in table:
        raise ValueError(
            f"{where}: {name!r} is not defined{suggestion(name, table)}; allowed: "
            f"{', '.join(table) or '(none)'}"
        )
