"""Records of the stages that make zoo entries, wherever their weights come from."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config import jobs
from xferpipe.config.datasets import Dataset
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.study import Study
from xferpipe.datasets.package_files import package_weights
from xferpipe.datasets.weight_files import files_of
from xferpipe.graph.stage import Artifact, Needs, Stage
from xferpipe.graph.stages.parts import (
    ImageStage,
    block,
    compute,
    entry,
    images,
    on_source,
    opened_files,
)


class ZooStage(Stage):
    """A stage that makes a zoo entry, which of them follows from the entry's `weights`."""

    place = "{model}"
    folder = "zoo"
    outputs = {
        "weights": "weights.safetensors",
        "card": "card.parquet",
        "class_means": "class_means.safetensors",
    }
    tables = {"card": "zoo"}
    kept = ("weights",)

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [(model,) for model in study.zoo if entry(study, model).stage == self.name]

    def rows(self, study: Study) -> dict[str, list[Artifact]]:
        """Leave out the cards: they are gathered with the cost that stage `cost` adds."""
        return {name: files for name, files in super().rows(study).items() if name != "zoo"}


class Pretrain(ZooStage, ImageStage):
    """Train one zoo entry on its source."""

    name = "pretrain"
    does = "pretrain {model}"
    outputs = {**ZooStage.outputs, "epochs": "epochs.parquet"}
    tables = {**ZooStage.tables, "epochs": "epochs"}
    trains = True
    memory_mb, minutes = 8000, 1440

    def dataset(self, study: Study, model: str) -> str:
        return study.zoo[model].source

    def job(self, study: Study, model: str) -> jobs.PretrainJob:
        recipe = study.zoo[model].recipe
        return jobs.PretrainJob(**on_source(study, model), model=model, recipe_name=recipe)

    def needs(self, study: Study, model: str) -> Needs:
        initial = study.zoo[model].initial
        return {**super().needs(study, model), "initial": initial and entry(study, initial)}


class Expert(Stage):
    """Train one network on several sources."""

    name = "expert"
    does = "train expert {expert} on all of its sources"
    place = "{expert}"
    outputs = {"domains": "domains", "epochs": "epochs.parquet"}
    tables = {"epochs": "epochs"}
    reads = ("manifest", "zoo")
    trains = gpu = parallel = True
    memory_mb, minutes = 16000, 2880

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [(name,) for name in study.experts]

    def job(self, study: Study, name: str) -> jobs.ExpertJob:
        expert = study.experts[name]
        models = expert.models(name, study.zoo)
        return jobs.ExpertJob(
            expert=name,
            mode=expert.mode,
            spec=ModelSpec.of(study.zoo[models[expert.sources[0]]]),
            models={source: models[source] for source in expert.sources},
            datasets={source: block(study, source) for source in expert.sources},
            images_per_domain=expert.images_per_domain,
            recipe_name=expert.recipe,
            recipe=study.pretraining_recipes[expert.recipe],
            seed=study.seed,
            **compute(study),
        )

    def needs(self, study: Study, name: str) -> Needs:
        expert = study.experts[name]
        sources = {source: images(study, source) for source in expert.sources}
        return {
            "manifests": {source: needs["manifest"] for source, needs in sources.items()},
            "images": {source: needs["images"] for source, needs in sources.items()},
            "roots": {source: needs["root"] for source, needs in sources.items()},
            "initial": expert.initial and entry(study, expert.initial),
        }

    def user_files(self, study: Study, name: str) -> list[Dataset | Path]:
        return [
            file for source in study.experts[name].sources for file in opened_files(study, source)
        ]


class Domain(ZooStage):
    """Take one domain of a multi-domain expert as a zoo entry."""

    name = "domain"
    does = "take {model} out of its expert"
    memory_mb, minutes = 1000, 10

    def job(self, study: Study, model: str) -> jobs.DomainJob:
        taken = study.zoo[model]
        return jobs.DomainJob(expert=taken.expert, source=taken.source)

    def needs(self, study: Study, model: str) -> Needs:
        return {"domains": Artifact("expert", (study.zoo[model].expert,), "domains")}


class LoadWeights(ZooStage):
    """Bring one zoo entry's weights from where they lie, or draw them."""

    name = "load_weights"
    does = "load the weights of {model}"

    def job(self, study: Study, model: str) -> jobs.LoadWeightsJob:
        loaded = study.zoo[model]
        return jobs.LoadWeightsJob(
            model=model,
            spec=ModelSpec.of(loaded),
            weights=loaded.weights,
            name=loaded.name,
            order=loaded.order,
            ema=loaded.ema,
            rename=loaded.rename,
            source_accuracy=loaded.source_accuracy,
            seed=study.seed,
        )

    def user_files(self, study: Study, model: str) -> list[Dataset | Path]:
        loaded = study.zoo[model]
        if loaded.weights == "package":
            return [package_weights(loaded.name)]
        return files_of(Path(loaded.name)) if loaded.weights == "file" else []


class Cost(Stage):
    """Measure what one image costs a zoo entry."""

    name = "cost"
    does = "measure what an image costs {model}"
    place = "{model}"
    outputs = {"cost": "cost.parquet"}
    tables = {"cost": "zoo"}
    gpu = parallel = True
    minutes = 10

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [(model,) for model in study.zoo]

    def job(self, study: Study, model: str) -> jobs.CostJob:
        spec = ModelSpec.of(study.zoo[model])
        # What the model sees where no recipe says otherwise: its own side, or that of the images.
        sides = [study.datasets[target.dataset].image_px for target in study.targets.values()]
        return jobs.CostJob(
            model=model, spec=spec, image_px=spec.image_px or max(sides), **compute(study)
        )

    def needs(self, study: Study, model: str) -> Needs:
        return {name: entry(study, model, name) for name in ("card", "weights")}
