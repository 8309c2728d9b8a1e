"""Resolve a study into jobs: the slice of each, and the registered modules it uses."""

from __future__ import annotations

from xferpipe.config.datasets import Dataset
from xferpipe.config.jobs import (
    AggregateJob,
    ContinualJob,
    DomainJob,
    ExpertJob,
    FeaturesJob,
    FinetuneJob,
    GenerateJob,
    GradientsJob,
    Job,
    LoadWeightsJob,
    ManifestJob,
    ModelSpec,
    PackJob,
    PathJob,
    PretrainJob,
    ProbeFinetunedJob,
    ProbeJob,
    ReferenceJob,
    ReportJob,
    RetrievalJob,
    ScoresJob,
)
from xferpipe.config.report import FeaturesTaken
from xferpipe.config.scores import module_of
from xferpipe.config.stand_ins import StandIns, stand_ins
from xferpipe.config.study import Shots, Study
from xferpipe.config.zoo import architecture_family


class Jobs:
    """Resolves the jobs of a study: a job is a pure function of its wildcards."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def generate(self, dataset: str) -> GenerateJob:
        return GenerateJob(dataset=self._images(dataset), seed=self.study.seed)

    def manifest(self, dataset: str) -> ManifestJob:
        return ManifestJob(name=dataset, dataset=self._images(dataset), seed=self.study.seed)

    def pack(self, dataset: str) -> PackJob:
        return PackJob(dataset=self._images(dataset), seed=self.study.seed)

    def pretrain(self, model: str) -> PretrainJob:
        return PretrainJob(
            **self._on_source(model), model=model, recipe_name=self.study.zoo[model].recipe
        )

    def expert(self, name: str) -> ExpertJob:
        expert = self.study.experts[name]
        models = expert.models(name, self.study.zoo)
        return ExpertJob(
            expert=name,
            mode=expert.mode,
            spec=ModelSpec.of(self.study.zoo[models[expert.sources[0]]]),
            models={source: models[source] for source in expert.sources},
            datasets={source: self._images(source) for source in expert.sources},
            images_per_domain=expert.images_per_domain,
            recipe_name=expert.recipe,
            recipe=self.study.pretraining_recipes[expert.recipe],
            seed=self.study.seed,
            **self._compute(),
        )

    def domain(self, model: str) -> DomainJob:
        entry = self.study.zoo[model]
        return DomainJob(expert=entry.expert, source=entry.source)

    def load_weights(self, model: str) -> LoadWeightsJob:
        entry = self.study.zoo[model]
        return LoadWeightsJob(
            model=model,
            spec=ModelSpec.of(entry),
            weights=entry.weights,
            name=entry.name,
            seed=self.study.seed,
        )

    def features(self, target: str, shots: str, model: str) -> FeaturesJob:
        return FeaturesJob(
            **self._on_target(target, model),
            target=self.study.targets[target],
            shots=parse_shots(shots),
            probe=self.study.probe,
            seed=self.study.seed,
        )

    def gradients(self, target: str, shots: str, model: str) -> GradientsJob:
        scores = self.study.scores
        # Layers alone need no gradients: without lgc none are taken.
        scalars = scores.gradients.scalars if "lgc" in scores.methods else ()
        return GradientsJob(
            **dict(self.features(target, shots, model)),
            gradients=scores.gradients.model_copy(update={"scalars": scalars}),
            layers=scores.layers,
        )

    def reference(self, target: str, shots: str) -> ReferenceJob:
        model = self.study.scores.reference.model
        features = dict(self.features(target, shots, model))
        return ReferenceJob(
            **features, recipe=self.study.finetuning_recipes[self.study.scores.reference.recipe]
        )

    def scores(self, target: str, shots: str, model: str) -> ScoresJob:
        return ScoresJob(
            target=target,
            shots=parse_shots(shots),
            model=model,
            scores=self.study.scores,
            seed=self.study.seed,
            compute_threads=self.study.compute_threads,
        )

    def finetune(self, target: str, shots: str, model: str, recipe: str, seed: str) -> FinetuneJob:
        return FinetuneJob(
            **self._tuning(target, model, recipe, seed),
            target=self.study.targets[target],
            shots=parse_shots(shots),
            features_taken=self._features_taken(target, shots, model, recipe, int(seed)),
        )

    def _features_taken(
        self, target: str, shots: str, model: str, recipe: str, seed: int
    ) -> FeaturesTaken | None:
        if not self.study.takes_features(target, parse_shots(shots), model, recipe, seed):
            return None
        asked = self.study.report.feature_correlation
        return FeaturesTaken(epochs=asked.epochs, images=asked.images, probe=self.study.probe)

    def retrieval(
        self, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> RetrievalJob:
        return RetrievalJob(
            **self._tuning(target, model, recipe, seed),
            shots=parse_shots(shots),
            retrieval=self.study.retrieval,
        )

    def probe(self, model: str) -> ProbeJob:
        probes = self.study.minimisers
        return ProbeJob(
            **self._on_source(model),
            model=model,
            sample=probes.sample,
            inputs=probes.inputs,
            energy=probes.energy,
            confidence=probes.confidence,
        )

    def probe_finetuned(
        self, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> ProbeFinetunedJob:
        probes = self.study.minimisers
        return ProbeFinetunedJob(
            **self._tuning(target, model, recipe, seed),
            shots=parse_shots(shots),
            sample=probes.sample,
            inputs=probes.inputs,
            confidence=probes.confidence,
        )

    def path(self, first: str, second: str) -> PathJob:
        probes = self.study.minimisers
        return PathJob(
            **self._on_source(first),
            first=first,
            second=second,
            sample=probes.sample,
            # Which other pairs there are is no business of this one.
            paths=probes.paths.model_copy(update={"pairs": "all"}),
        )

    def continual(self, target: str, model: str, seed: str) -> ContinualJob:
        continual = self.study.minimisers.continual
        return ContinualJob(
            **self._tuning(target, model, continual.recipe, seed),
            target=self.study.targets[target],
            parts=continual.parts,
            part_by=continual.part_by,
        )

    def aggregate(self) -> AggregateJob:
        return AggregateJob(
            study=self.study.name,
            selection=self.study.selection,
            licences={name: entry.licence for name, entry in self.study.zoo.items()},
            source_licences={
                name: self.study.datasets[entry.source].licence
                for name, entry in self.study.zoo.items()
                if entry.source in self.study.datasets
            },
            targets=self.study.targets,
            target_licences={
                name: self.study.datasets[target.dataset].licence
                for name, target in self.study.targets.items()
            },
            seed=self.study.seed,
        )

    def report(self) -> ReportJob:
        # Which fine-tunes take features is their business; the report shows those it finds.
        shown = self.study.report.model_copy(update={"feature_correlation": None})
        beside = shown.published or shown.orders or shown.comparisons
        return ReportJob(
            study=self.study.name,
            selection=self.study.selection,
            report=shown,
            stand_ins=stand_ins(self.study) if beside else StandIns(),
        )

    def _on_source(self, model: str) -> dict[str, object]:
        """Return the fields of `SourceJob`; two solutions of a path share those of the first."""
        entry = self.study.zoo[model]
        return {
            "source": entry.source,
            "spec": ModelSpec.of(entry),
            "dataset": self._images(entry.source),
            "recipe": self.study.pretraining_recipes[entry.recipe],
            "seed": self.study.seed,
            **self._compute(),
        }

    def _on_target(self, target: str, model: str) -> dict[str, object]:
        """Return the fields of `TargetJob`."""
        return {
            "target_name": target,
            "dataset": self._images(self.study.targets[target].dataset),
            "model": model,
            "spec": ModelSpec.of(self.study.zoo[model]),
            **self._compute(),
        }

    def _tuning(self, target: str, model: str, recipe: str, seed: str) -> dict[str, object]:
        """Return the fields of `TuningJob`."""
        return {
            **self._on_target(target, model),
            "recipe_name": recipe,
            "recipe": self.study.finetuning_recipes[recipe],
            "study_seed": self.study.seed,
            "seed": int(seed),
        }

    def _images(self, dataset: str) -> Dataset:
        """A licence is shown, never computed with: it stays out of the slice."""
        return self.study.datasets[dataset].model_copy(update={"licence": None})

    def _compute(self) -> dict[str, object]:
        return {"compute_threads": self.study.compute_threads, "device": self.study.device}


def parse_shots(text: str) -> Shots:
    """Turn the `shots` wildcard into its value."""
    return "full" if text == "full" else int(text)


def entries_of(job: Job) -> tuple[str, ...]:
    """Name the registered modules that a job uses, and none of their siblings."""
    entries = set()
    datasets = list(getattr(job, "datasets", {}).values())
    if hasattr(job, "dataset"):
        datasets.append(job.dataset)
    entries.update(f"xferpipe.datasets.readers.{dataset.reader}" for dataset in datasets)
    spec = getattr(job, "spec", None)
    if spec is not None:
        entries.add(f"xferpipe.zoo.architectures.{architecture_family(spec.architecture)}")
    recipe = getattr(job, "recipe", None)
    if recipe is not None:
        entries.add(f"xferpipe.training.algorithms.{recipe.algorithm}")
    if isinstance(job, LoadWeightsJob) and job.weights != "random":
        entries.add(f"xferpipe.zoo.origins.{job.weights}_weights")
    if isinstance(job, ScoresJob):
        entries.update(module_of(method) for method in job.scores.methods)
    return tuple(sorted(entries))
