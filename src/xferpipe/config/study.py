"""The whole study: what `config.yaml` says, checked across its blocks before any job starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PrivateAttr, model_validator

from xferpipe.config.base import Block, Name, Place
from xferpipe.config.checks import check
from xferpipe.config.datasets import Dataset
from xferpipe.config.experts import Expert
from xferpipe.config.minimisers import Minimisers
from xferpipe.config.recipes import Recipe
from xferpipe.config.report import Report
from xferpipe.config.retrieval import Retrieval
from xferpipe.config.scores import Probe, Scores
from xferpipe.config.zoo import ZooEntry

Shots = Annotated[int, Field(ge=1)] | Literal["full"]


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
        0.2, gt=0, lt=1, description="Part of the training split held out to choose on."
    )


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
        "accuracy or map as fractions; shots, recipe, seed, validation, seconds where known): "
        "they count beside the runs.",
    )
    speed_train_accuracy: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Training accuracy whose first epoch is a fine-tune's speed, which the "
        "linearised loss curve is judged by.",
    )


class Run(NamedTuple):
    """What names one fine-tuning run: texts, in the order of its result path."""

    target: str
    shots: str
    model: str
    recipe: str
    seed: str


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
    probe: Probe = Field(Probe(), description="Images that scores may see.")
    scores: Scores = Field(Scores(), description="Scores to compute.")
    retrieval: Retrieval = Field(Retrieval(), description="Retrieval evaluation.")
    selection: Selection = Field(Selection(), description="How scores are judged.")
    minimisers: Minimisers | None = Field(
        None, description="Probes of the pretrained solutions; null: none."
    )
    report: Report = Field(Report(), description="What the report sets beside the figures.")

    _whole: Study | None = PrivateAttr(None)

    @property
    def whole(self) -> Study | None:
        """The full form of the study where this is its smoke form, else None."""
        return self._whole

    @property
    def results(self) -> Path:
        """Folder of the study's results: each study, and its smoke form, has its own."""
        return Path("results", self.name if self.whole is None else f"{self.name}-smoke")

    def runs(self) -> list[Run]:
        """Return every fine-tuning run once, in the order the grids name them."""
        found = (
            Run(target, str(shots), model, recipe, str(seed))
            for grid in self.finetunes
            for target in (self.targets if grid.targets == "all" else grid.targets)
            for shots in grid.shots
            for model in (self.zoo if grid.models == "all" else grid.models)
            for recipe in grid.recipes
            for seed in grid.seeds
        )
        return list(dict.fromkeys(found))

    def scored(self) -> list[tuple[str, str]]:
        """Return the (target, shots) pairs that every model is scored on."""
        pairs = {(run.target, run.shots): None for run in self.runs()}
        missing = [target for target in self.targets if not any(t == target for t, _ in pairs)]
        return [*pairs, *((target, "full") for target in missing)]

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
            and not self.finetuning_recipes[run.recipe].cache_features
        )

    @model_validator(mode="after")
    def _blocks_agree(self) -> Study:
        check(self)
        return self
