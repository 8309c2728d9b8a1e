"""The whole study: what `config.yaml` says, checked across its blocks before any job starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from xferpipe.config.base import Block, Name
from xferpipe.config.datasets import CLASSIFICATION_READERS, RETRIEVAL_READERS, Dataset
from xferpipe.config.experts import Expert
from xferpipe.config.minimisers import Minimisers
from xferpipe.config.recipes import Recipe
from xferpipe.config.report import Report
from xferpipe.config.retrieval import Retrieval
from xferpipe.config.scores import Probe, Scores
from xferpipe.config.zoo import ZooEntry

Shots = Annotated[int, Field(ge=1)] | Literal["full"]


class StudyError(ValueError):
    """The study cannot be run as written; the message names the key and what is allowed."""


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
    bootstrap_samples: int = Field(1000, ge=0, description="Draws for correlation intervals.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of every interval.")
    own_results: Path | None = Field(
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


class FinetuneId(Block):
    """What names one fine-tuning run."""

    target: Name
    shots: Shots
    model: Name
    recipe: Name
    seed: int


class Study(Block):
    """A study: data, zoo, targets, recipes, and what to run."""

    name: Name = Field(description="Name of the study, shown in the report.")
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

    def finetune_ids(self) -> Iterator[FinetuneId]:
        """Yield every fine-tuning run once, in the order the grids name them."""
        seen = set()
        for grid in self.finetunes:
            targets = tuple(self.targets) if grid.targets == "all" else grid.targets
            models = tuple(self.zoo) if grid.models == "all" else grid.models
            for target in targets:
                for shots in grid.shots:
                    for model in models:
                        for recipe in grid.recipes:
                            for seed in grid.seeds:
                                run = (target, shots, model, recipe, seed)
                                if run not in seen:
                                    seen.add(run)
                                    yield FinetuneId.model_construct(
                                        target=target,
                                        shots=shots,
                                        model=model,
                                        recipe=recipe,
                                        seed=seed,
                                    )

    def scored(self) -> list[tuple[str, str]]:
        """Return the (target, shots) pairs that every model is scored on."""
        pairs = {(run.target, str(run.shots)): None for run in self.finetune_ids()}
        missing = [target for target in self.targets if not any(t == target for t, _ in pairs)]
        return [*pairs, *((target, "full") for target in missing)]

    def reference_run(self, target: str, shots: str) -> tuple[str, str, str, str, str]:
        """Return the wildcards of the fine-tune whose features RSA compares with."""
        reference = self.scores.reference
        return target, shots, reference.model, reference.recipe, str(reference.seed)

    def takes_features(self, target: str, shots: Shots, model: str, recipe: str, seed: int) -> bool:
        """Tell whether a fine-tune takes features on the way, for the report."""
        asked = self.report.feature_correlation
        return (
            asked is not None
            and asked.covers(target, shots, model, recipe, seed)
            and not self.finetuning_recipes[recipe].cache_features
        )

    def minimiser_jobs(self) -> dict[str, list[tuple[str, ...]]]:
        """Return the wildcards of every minimiser job by stage; empty lists where none is asked."""
        jobs: dict[str, list[tuple[str, ...]]] = {
            stage: [] for stage in ("probe", "path", "probe_finetuned", "continual")
        }
        asked = self.minimisers
        if asked is None:
            return jobs
        probed = asked.probed(self.zoo)
        classification = [
            n for n, target in self.targets.items() if target.task == "classification"
        ]
        jobs["probe"] = [(model,) for model in probed]
        jobs["path"] = asked.pairs(self.zoo, self.pretraining_recipes)
        jobs["probe_finetuned"] = [
            (run.target, str(run.shots), run.model, run.recipe, str(run.seed))
            for run in self.finetune_ids()
            if run.target in classification
            and run.model in probed
            and (asked.finetuned == "all" or run.recipe in asked.finetuned)
        ]
        if asked.continual is not None:
            jobs["continual"] = [
                (target, model, str(seed))
                for target in classification
                for model in probed
                if asked.continual.models == "all" or model in asked.continual.models
                for seed in asked.continual.seeds
            ]
        return jobs

    @model_validator(mode="after")
    def _references_exist(self) -> Study:
        def known(where: str, name: str, table: dict[str, Any]) -> None:
            if name not in table:
                raise ValueError(
                    f"{where}: {name!r} is not defined; allowed: {', '.join(table) or '(none)'}"
                )

        if not self.targets:
            raise ValueError("targets: at least one is needed")
        if not self.zoo:
            raise ValueError("zoo: at least one model is needed")
        for name, target in self.targets.items():
            where = f"targets.{name}.dataset"
            known(where, target.dataset, self.datasets)
            reader = self.datasets[target.dataset].reader
            allowed = RETRIEVAL_READERS if target.task == "retrieval" else CLASSIFICATION_READERS
            if reader not in allowed:
                raise ValueError(
                    f"targets.{name}.task: {target.task} cannot be evaluated on reader {reader!r}; "
                    f"allowed readers: {', '.join(allowed)}"
                )
            lists = self.retrieval.junk_rule == "index_lists"
            if lists and target.task == "retrieval" and reader != "veri776":
                raise ValueError(
                    f"retrieval.junk_rule: index_lists are files of VeRi-776, but target {name!r} "
                    f"has reader {reader!r}; allowed there: same_camera, same_sequence, none"
                )
        for name, entry in self.zoo.items():
            if entry.weights == "pretrain":
                known(f"zoo.{name}.source", entry.source, self.datasets)
                known(f"zoo.{name}.recipe", entry.recipe, self.pretraining_recipes)
                if entry.initial is not None:
                    known(f"zoo.{name}.initial", entry.initial, self.zoo)
            if entry.weights == "expert":
                known(f"zoo.{name}.expert", entry.expert, self.experts)
                sources = self.experts[entry.expert].sources
                known(f"zoo.{name}.source", entry.source, dict.fromkeys(sources))
            self._no_cycle(name)
        for name, expert in self.experts.items():
            for source in expert.sources:
                known(f"experts.{name}.sources", source, self.datasets)
            known(f"experts.{name}.recipe", expert.recipe, self.pretraining_recipes)
            if expert.initial is not None:
                known(f"experts.{name}.initial", expert.initial, self.zoo)
            expert.check(name, self.zoo)
        for i, grid in enumerate(self.finetunes):
            where = f"finetunes[{i}]"
            for name in () if grid.targets == "all" else grid.targets:
                known(f"{where}.targets", name, self.targets)
            for name in () if grid.models == "all" else grid.models:
                known(f"{where}.models", name, self.zoo)
            for name in grid.recipes:
                known(f"{where}.recipes", name, self.finetuning_recipes)
        for run in self.finetune_ids():
            self._recipe_fits(run)
        for target, shots in dict.fromkeys((run.target, run.shots) for run in self.finetune_ids()):
            self._shots_fit(target, shots)
        self._crops_fit()
        if self.scores.reference is not None:
            known("scores.reference.model", self.scores.reference.model, self.zoo)
            recipe = self.scores.reference.recipe
            known("scores.reference.recipe", recipe, self.finetuning_recipes)
        if self.minimisers is not None:
            self.minimisers.check(self.zoo, self.pretraining_recipes, self.finetuning_recipes)
        tables = {"target": self.targets, "model": self.zoo, "recipe": self.finetuning_recipes}
        for where, kind, name in self.report.names():
            known(where, name, tables[kind])
        self._features_are_taken()
        if self.selection.reference_model is not None:
            known("selection.reference_model", self.selection.reference_model, self.zoo)
        return self

    def _no_cycle(self, name: str) -> None:
        path = [name]
        while (initial := self._initial(path[-1])) is not None and initial in self.zoo:
            if initial in path:
                raise ValueError(f"zoo.{name}.initial: a circle: {' -> '.join([*path, initial])}")
            path.append(initial)

    def _initial(self, name: str) -> str | None:
        """Return the zoo entry that an entry's training starts from."""
        entry = self.zoo[name]
        if entry.weights == "expert" and entry.expert in self.experts:
            return self.experts[entry.expert].initial
        return entry.initial

    def _recipe_fits(self, run: FinetuneId) -> None:
        recipe = self.finetuning_recipes[run.recipe]
        target = self.targets[run.target]
        identities = recipe.loss == "cross_entropy_triplet" or recipe.sampler == "pk"
        if identities and target.task != "retrieval":
            raise ValueError(
                f"finetuning_recipes.{run.recipe}: its loss or sampler needs identities, but "
                f"target {run.target!r} is a classification target; "
                "allowed there: loss: cross_entropy, sampler: shuffle"
            )

    def _features_are_taken(self) -> None:
        asked, where = self.report.feature_correlation, "report.feature_correlation"
        if asked is None:
            return
        for name in () if asked.recipes == "all" else asked.recipes:
            if self.finetuning_recipes[name].cache_features:
                raise ValueError(
                    f"{where}.recipes: {name!r} caches features, which therefore do not change; "
                    "leave it out"
                )
        if not any(
            self.takes_features(run.target, run.shots, run.model, run.recipe, run.seed)
            for run in self.finetune_ids()
        ):
            raise ValueError(
                f"{where}: none of the study's fine-tunes is among these targets, shots, models, "
                "recipes and seeds; name some that `finetunes` has, or leave the block out"
            )

    def _crops_fit(self) -> None:
        used = [
            ("finetuning_recipes", run.recipe, self.targets[run.target].dataset)
            for run in self.finetune_ids()
        ] + [
            ("pretraining_recipes", entry.recipe, entry.source)
            for entry in self.zoo.values()
            if entry.weights == "pretrain"
        ]
        for block, name, dataset in dict.fromkeys(used):
            recipe = getattr(self, block)[name]
            # A hyper-rule sets the sizes itself, for whatever size the images have.
            misfit = recipe.misfit(self.datasets[dataset].image_px)
            if misfit and recipe.hyperrule is None:
                raise ValueError(f"{block}.{name} with data set {dataset!r}: {misfit}")

    def _shots_fit(self, name: str, shots: Shots) -> None:
        target = self.targets[name]
        images = self.datasets[target.dataset].training_images(target.validation_fraction)
        if shots == "full" or images is None:
            return
        rarest = min(images, key=images.__getitem__)
        if shots > images[rarest]:
            raise ValueError(
                f"finetunes: shots {shots} asks target {name!r} for {shots} training "
                f"images of class {rarest!r}, which has {images[rarest]} after the test and "
                f"validation parts; allowed: 1 to {images[rarest]}, or full"
            )


def _merge(base: dict[str, Any], cut: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `cut` laid over it; null removes a key."""
    merged = dict(base)
    for key, value in cut.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _message(error: ValidationError, origin: str) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        text = item["msg"].removeprefix("Value error, ")
        given = item.get("input")
        if item["type"] == "extra_forbidden":
            text = "unknown key"
        elif not isinstance(given, dict | list | tuple | Block):
            text += f" (given: {given!r})"
        lines.append(f"  {where}: {text}" if where else f"  {text}")
    return f"{origin} cannot be run:\n" + "\n".join(lines)


def load_study(source: Path | str | dict[str, Any], *, smoke: bool = False) -> Study:
    """Read and check a study.

    Args:
        source: A YAML file, or its parsed content.
        smoke: Lay the study's own `smoke` block over it: the same rules, every axis cut.
    Returns:
        The checked study.
    Raises:
        StudyError: Unknown keys, wrong types or impossible combinations; names each key.
    """
    origin = "the study"
    if not isinstance(source, dict):
        origin = str(source)
        try:
            source = yaml.safe_load(Path(source).read_bytes())
        except OSError as error:
            raise StudyError(f"{origin}: {error.strerror}; expected a study file (YAML)") from None
        # Not only YAMLError: a date such as 2001-99-99 is a ValueError, deep nesting the other.
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise StudyError(f"{origin} is not YAML: {error}") from None
        if not isinstance(source, dict):
            raise StudyError(f"{origin}: expected a mapping of keys, see config.yaml")
    content = {key: value for key, value in source.items() if key != "smoke"}
    if smoke:
        cut = source.get("smoke")
        if not isinstance(cut, dict):
            raise StudyError(f"{origin} has no smoke block, so it has no smoke form; add one")
        content = _merge(content, cut)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError(_message(error, origin)) from None


def study_of_workflow(config: dict[str, Any], files: list[Path | str]) -> Study:
    """Read the study that Snakemake was given.

    Args:
        config: Snakemake's merged configuration; `--config smoke=true` asks for the smoke form.
        files: The configuration files it came from. A `smoke=true` hides their `smoke` blocks, so
            those are read from here.
    Returns:
        The checked study.
    Raises:
        StudyError: See `load_study`.
    """
    content = dict(config)
    smoke = content.get("smoke")
    if smoke is None or isinstance(smoke, dict):
        return load_study(content)
    if str(smoke).lower() not in ("true", "false"):  # Snakemake hands `smoke=true` on as a text.
        raise StudyError(f"--config smoke={smoke}: expected true or false")
    smoke = str(smoke).lower() == "true"
    cuts = [yaml.safe_load(Path(file).read_text()).get("smoke") for file in files]
    content["smoke"] = next((cut for cut in reversed(cuts) if cut), None)
    return load_study(content, smoke=smoke)
