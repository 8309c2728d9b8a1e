"""The whole study: what `config.yaml` says, checked across its blocks before any job starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, PrivateAttr, field_validator, model_validator

from xferpipe.config.base import Block, Name, Place
from xferpipe.config.checks import check
from xferpipe.config.datasets import Dataset
from xferpipe.config.experts import Expert
from xferpipe.config.exports import Exports
from xferpipe.config.histories import shipped
from xferpipe.config.minimisers import Minimisers
from xferpipe.config.race import Decided, Race, Run, Shots
from xferpipe.config.recipes import Recipe
from xferpipe.config.report import Report
from xferpipe.config.retrieval import AS_IS, AS_IS_RECIPE, Retrieval
from xferpipe.config.scores import Probe, Scores
from xferpipe.config.zoo import ZooEntry

ClassificationMetric = Literal["accuracy", "balanced_accuracy", "macro_f1"]
CLASSIFICATION_METRICS = get_args(ClassificationMetric)
#: What fine-tunes are judged by; each is a column of a result table.
METRICS = (*CLASSIFICATION_METRICS, "map")


def parse_shots(text: str) -> Shots:
    """Turn the `shots` of a path into its value."""
    return "full" if text == "full" else int(text)


class Target(Block):
    """A labelled data set that a model is wanted for."""

    dataset: Name = Field(description="Name of an entry of `datasets`.")
    task: Literal["classification", "retrieval"] = Field(
        "classification", description="What is evaluated: class accuracy, or re-identification."
    )
    validation_fraction: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Part of the training split held out to choose on: of each class of a "
        "classification target, of the identities of a retrieval target. 0 trains on all of it, "
        "for recipes with select: last.",
    )
    validation: Literal["split", "within_shots"] = Field(
        "split",
        description="Where few shots are chosen on: images held out before any shots, or a part "
        "of the shots themselves, so that no other labelled image is looked at.",
    )
    draws: Literal["fixed", "per_seed"] = Field(
        "fixed",
        description="Which images few shots are: one draw for all runs, or one for each seed of a "
        "run, so that repeated runs differ by the draw too.",
    )
    judged_by: ClassificationMetric = Field(
        "accuracy",
        description="Figure that epochs, recipes and models are judged by: accuracy, "
        "balanced_accuracy (mean recall of the classes) or macro_f1 (mean F1 of the classes). A "
        "retrieval target is judged by mAP.",
    )

    @field_validator("validation_fraction", mode="before")
    @classmethod
    def _fraction(cls, value: Any) -> Any:
        """Refuse yes and no, which would be the numbers 1 and 0."""
        if isinstance(value, bool):
            raise ValueError("expected a fraction, below 1; 0 holds nothing out")
        return value

    @property
    def metric(self) -> str:
        """Name of the figure that fine-tunes are judged by; one of `METRICS`."""
        return "map" if self.task == "retrieval" else self.judged_by

    @model_validator(mode="after")
    def _judged_by_what_is_evaluated(self) -> Target:
        if self.task == "retrieval" and self.judged_by != "accuracy":
            raise ValueError(
                f"judged_by: {self.judged_by} is for task: classification; a retrieval target is "
                "judged by mAP: leave judged_by out"
            )
        return self


class FinetuneGrid(Block):
    """Fine-tunes to run: every combination of the lists. Grids may overlap; a run is done once."""

    targets: tuple[Name, ...] | Literal["all"] = Field("all", description="Targets, or `all`.")
    shots: tuple[Shots, ...] = Field(("full",), description="Training images per class, or `full`.")
    models: tuple[Name, ...] | Literal["all"] = Field("all", description="Zoo entries, or `all`.")
    recipes: tuple[Name, ...] = Field(description="Fine-tuning recipes.")
    seeds: tuple[int, ...] = Field((0,), description="Seeds of repeated runs.")


class Selection(Block):
    """How scores are judged against the fine-tunes."""

    reference_model: Name | None = Field(
        None, description="Model that gains are counted from; unset: the median model."
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of every interval.")
    own_results: Place | None = Field(
        None,
        description="CSV or Parquet of fine-tuning results that you already have (target, model, "
        "accuracy, balanced_accuracy, macro_f1 or map as fractions; shots, recipe, seed, "
        "validation, seconds where known): they count beside the runs.",
    )
    speed_train_accuracy: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Training accuracy whose first epoch is a fine-tune's speed, which the "
        "linearised loss curve is judged by.",
    )


class Study(Block):
    """A study: data, zoo, targets, recipes, and what to run."""

    name: Name = Field(
        description="Name of the study, shown in the report, and of the folder of its results."
    )
    seed: int = Field(0, ge=0, description="Seed of everything that is not repeated over seeds.")
    compute_threads: int = Field(
        1,
        ge=1,
        description="Threads of one training job. Part of the result, so part of the study.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where models run; `auto` takes a GPU where there is one."
    )
    code_key: Literal["ast", "manual"] = Field(
        "ast", description="`ast` re-runs what changed code computes; `manual` freezes that."
    )
    datasets: dict[Name, Dataset] = Field(description="Data sets by name.")
    targets: dict[Name, Target] = Field(description="Targets by name.")
    pretraining_recipes: dict[Name, Recipe] = Field(
        default_factory=dict, description="Recipes that zoo entries are pretrained with."
    )
    finetuning_recipes: dict[Name, Recipe] = Field(
        default_factory=dict, description="Recipes that targets are fine-tuned with."
    )
    zoo: dict[Name, ZooEntry] = Field(description="Pretrained models by name.")
    experts: dict[Name, Expert] = Field(
        default_factory=dict, description="Multi-domain experts by name."
    )
    finetunes: tuple[FinetuneGrid, ...] = Field((), description="Fine-tunes to run.")
    choose: tuple[Race, ...] = Field(
        (), description="Races: fine-tunes to run only as far as the answer needs them."
    )
    history: tuple[Place, ...] = Field(
        (),
        description="Files of earlier studies that the answer learns from, as `xferpipe history "
        "add` writes them.",
    )
    shipped_history: bool = Field(
        True, description="Learn from the history that comes with xferpipe as well."
    )
    export: Exports = Field(Exports(), description="Models to hand over as folders.")
    probe: Probe = Field(Probe(), description="Images that scores may see.")
    scores: Scores = Field(Scores(), description="Scores to compute.")
    retrieval: Retrieval = Field(Retrieval(), description="Retrieval evaluation.")
    selection: Selection = Field(Selection(), description="How scores are judged.")
    minimisers: Minimisers | None = Field(
        None, description="Probes of the pretrained solutions; null: none."
    )
    report: Report = Field(Report(), description="What the report sets beside the figures.")

    _whole: Study | None = PrivateAttr(None)
    #: (target, shots) -> what is decided of its race; nothing of it stands in the study's file.
    _decided: dict[tuple[str, str], Decided] = PrivateAttr(default_factory=dict)

    @property
    def whole(self) -> Study | None:
        """The full form of the study where this is its smoke form, else None."""
        return self._whole

    @property
    def results(self) -> Path:
        """Folder of the study's results: each study, and its smoke form, has its own."""
        return Path("results", self.name if self.whole is None else f"{self.name}-smoke")

    def grid_runs(self) -> list[Run]:
        """Return every run of the grids once, in the order they name them, then those as it is.

        The last are of models that rank a gallery without training: `retrieval.evaluate`.
        """
        found = [
            Run(target, str(shots), model, recipe, str(seed))
            for grid in self.finetunes
            for target in (self.targets if grid.targets == "all" else grid.targets)
            for shots in grid.shots
            for model in (self.zoo if grid.models == "all" else grid.models)
            for recipe in grid.recipes
            for seed in grid.seeds
        ]
        evaluated = self.retrieval.evaluate
        as_is = (
            Run(name, "full", model, AS_IS, "0")
            for name, target in self.targets.items()
            if target.task == "retrieval"
            for model in (self.zoo if evaluated == "all" else evaluated)
        )
        return list(dict.fromkeys([*found, *as_is]))

    def recipes_to_race(self) -> tuple[str, ...]:
        """Return the recipes that `all` means in a race: not the one that `evaluate` brings."""
        brought = AS_IS if self.retrieval.evaluate else None
        return tuple(name for name in self.finetuning_recipes if name != brought)

    @property
    def histories(self) -> list[Path]:
        """Files of earlier targets that the answer learns from."""
        return [*self.history, *(shipped() if self.shipped_history else ())]

    def runs(self) -> list[Run]:
        """Return every fine-tuning run once: those of the grids, then those that races asked for.

        Races add runs while the workflow runs; see `decided`.
        """
        raced = (run for place in self.races() for run in self.decided(*place).runs)
        return list(dict.fromkeys([*self.grid_runs(), *raced]))

    def possible_runs(self) -> list[Run]:
        """Return every run that may come up: those of the grids, and all of each race."""
        raced = (
            Run(target, shots, model, recipe, str(seed))
            for (target, shots), race in self.races().items()
            for model, recipe in race.candidates()
            for seed in range(race.seeds)
        )
        return list(dict.fromkeys([*self.grid_runs(), *raced]))

    def races(self) -> dict[tuple[str, str], Race]:
        """Return each race by its (target, shots): its rules, with the names filled in."""
        return {
            (target, str(shots)): race.model_copy(
                update={
                    "targets": (target,),
                    "shots": (shots,),
                    "models": tuple(self.zoo) if race.models == "all" else race.models,
                    "recipes": self.recipes_to_race() if race.recipes == "all" else race.recipes,
                }
            )
            for race in self.choose
            for target in (self.targets if race.targets == "all" else race.targets)
            for shots in race.shots
        }

    def exported(self) -> list[tuple[str, str]]:
        """Return the (target, shots) pairs whose picked model is exported."""
        asked = self.export.targets
        if asked == "none":
            return []
        if asked == "raced":
            return list(self.races())
        ran = dict.fromkeys([*((run.target, run.shots) for run in self.grid_runs()), *self.races()])
        return [place for place in ran if asked == "all" or place[0] in asked]

    def decided(self, target: str, shots: str) -> Decided:
        """Return what is decided of a race, as far as whoever holds this study has followed it."""
        return self._decided.get((target, shots), Decided())

    def follow(self, target: str, shots: str, decided: Decided) -> None:
        """Take over what is decided of a race: `runs` are those that it asked for from now on."""
        self._decided[target, shots] = decided

    def scored(self) -> list[tuple[str, str]]:
        """Return the (target, shots) pairs that every model is scored on."""
        pairs = {(run.target, run.shots): None for run in self.grid_runs()} | self.races()
        missing = [target for target in self.targets if not any(t == target for t, _ in pairs)]
        places = [*pairs, *((target, "full") for target in missing)]
        return [place for place in places if self.trains_on(place[0])]

    def trains_on(self, target: str) -> bool:
        """Tell whether training images of a target are read: not where all runs only evaluate."""
        recipes = {run.recipe for run in self.possible_runs() if run.target == target}
        return not recipes or not all(self.finetuning_recipes[one].evaluates for one in recipes)

    def reference_run(self, target: str, shots: str) -> Run:
        """Return the fine-tune whose features RSA compares with."""
        reference = self.scores.reference
        return Run(target, shots, reference.model, reference.recipe, str(reference.seed))

    def takes_features(self, run: Run) -> bool:
        """Tell whether a fine-tune takes features on the way, for the report."""
        asked = self.report.feature_correlation
        return (
            asked is not None
            and asked.covers(*run)
            and not self.finetuning_recipes[run.recipe].fixed_features
        )

    @model_validator(mode="before")
    @classmethod
    def _identities_are_stretched(cls, content: Any) -> Any:
        """Fill in `fit` of tables that are ranked: a cut would take heads and feet off.

        In the data set and not where images are decoded: sets of classes keep their slices.
        """
        datasets, targets = (_mapping(_mapping(content).get(k)) for k in ("datasets", "targets"))
        ranked = [
            one.get("dataset")
            for one in map(_mapping, targets.values())
            if one.get("task") == "retrieval"
        ]
        unsaid = {
            name: block | {"fit": "stretch"}
            for name, block in ((name, _mapping(block)) for name, block in datasets.items())
            if name in ranked and block.get("reader") == "table" and "fit" not in block
        }
        return content | {"datasets": datasets | unsaid} if unsaid else content

    @model_validator(mode="before")
    @classmethod
    def _evaluated_as_it_is(cls, content: Any) -> Any:
        """Fill in the recipe of `retrieval.evaluate`, so that its runs are runs like any other."""
        ranking = _mapping(content).get("retrieval")
        asked = getattr(ranking, "evaluate", _mapping(ranking).get("evaluate"))
        recipes = _mapping(content).get("finetuning_recipes", {})
        if not asked or not isinstance(recipes, dict) or AS_IS in recipes:
            return content
        return content | {"finetuning_recipes": recipes | {AS_IS: AS_IS_RECIPE}}

    @model_validator(mode="after")
    def _blocks_agree(self) -> Study:
        check(self)
        return self


def _mapping(content: Any) -> dict[Any, Any]:
    """Return unchecked content where it is a mapping, else an empty one."""
    return content if isinstance(content, dict) else {}
