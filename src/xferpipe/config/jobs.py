"""Jobs: the resolved slice of a study that one job may read, and nothing else.

A slice is what Snakemake compares between runs, so a value belongs in it exactly when it can
change the job's output. Texts such as licences stay out; so do names of things that a job does
not write.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from xferpipe.config.base import Block
from xferpipe.config.datasets import Dataset
from xferpipe.config.minimisers import InputProbes, LocalEnergy, Paths, Sample
from xferpipe.config.recipes import Recipe
from xferpipe.config.retrieval import Retrieval
from xferpipe.config.scores import Gradients, Probe, Scores, module_of
from xferpipe.config.study import Selection, Shots, Study, Target
from xferpipe.config.zoo import ZooEntry


class ModelSpec(Block):
    """How a model is built and fed, whatever its weights."""

    architecture: str
    width: int
    norm: Literal["batch", "group", "group_ws"] = "batch"
    block_order: Literal[
        "original", "norm_after_addition", "relu_before_addition", "preactivation"
    ] = "original"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_px: int | None = None

    @classmethod
    def of(cls, entry: ZooEntry) -> ModelSpec:
        """Take the building part of a zoo entry."""
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


class Job(Block):
    """A resolved slice; `stage` names the rule, the entry point and the result folder."""

    stage: ClassVar[str]

    def root(self, generated: str | None) -> Path | None:
        """Return the folder of manifest paths: the generated one, or the user's own."""
        return Path(generated) if generated else getattr(self.dataset, "root", None)


class GenerateJob(Job):
    """Write a generated re-identification set in its layout."""

    stage: ClassVar[str] = "generate"
    dataset: Dataset
    seed: int


class ManifestJob(Job):
    """List a data set: one row an image, checked."""

    stage: ClassVar[str] = "manifest"
    name: str
    dataset: Dataset
    seed: int


class PackJob(Job):
    """Decode a data set's images once."""

    stage: ClassVar[str] = "pack"
    dataset: Dataset
    seed: int


class PretrainJob(Job):
    """Train one zoo entry on its source."""

    stage: ClassVar[str] = "pretrain"
    model: str
    source: str
    spec: ModelSpec
    dataset: Dataset
    recipe_name: str
    recipe: Recipe
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class LoadWeightsJob(Job):
    """Bring one zoo entry's weights from where they lie (or draw them)."""

    stage: ClassVar[str] = "load_weights"
    model: str
    spec: ModelSpec
    weights: Literal["random", "torchvision", "timm", "file"]
    name: str | None
    seed: int


class FeaturesJob(Job):
    """Pass the probe images of a target through one model."""

    stage: ClassVar[str] = "features"
    target_name: str
    target: Target
    dataset: Dataset
    shots: Shots
    model: str
    spec: ModelSpec
    probe: Probe
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class GradientsJob(Job):
    """Take per-image gradients, and features of further layers, of a target's probe images."""

    stage: ClassVar[str] = "gradients"
    target_name: str
    target: Target
    dataset: Dataset
    shots: Shots
    model: str
    spec: ModelSpec
    probe: Probe
    gradients: Gradients
    layers: tuple[str, ...]
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class ScoresJob(Job):
    """Compute every score of one (target, shots, model) from cached features."""

    stage: ClassVar[str] = "scores"
    target: str
    shots: Shots
    model: str
    scores: Scores
    seed: int
    compute_threads: int


class FinetuneJob(Job):
    """Fine-tune one model on one target with one recipe and seed, and evaluate it."""

    stage: ClassVar[str] = "finetune"
    target_name: str
    target: Target
    dataset: Dataset
    shots: Shots
    model: str
    spec: ModelSpec
    recipe_name: str
    recipe: Recipe
    study_seed: int
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class RetrievalJob(Job):
    """Embed query and gallery with one fine-tuned model and rank."""

    stage: ClassVar[str] = "retrieval"
    target_name: str
    dataset: Dataset
    shots: Shots
    model: str
    spec: ModelSpec
    recipe_name: str
    recipe: Recipe
    study_seed: int
    seed: int
    retrieval: Retrieval
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class ProbeJob(Job):
    """Perturb one pretrained solution and its source's images."""

    stage: ClassVar[str] = "probe"
    model: str
    source: str
    spec: ModelSpec
    dataset: Dataset
    recipe: Recipe
    sample: Sample
    inputs: InputProbes
    energy: LocalEnergy
    confidence: float
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class ProbeFinetunedJob(Job):
    """Perturb the test images of one fine-tuned model."""

    stage: ClassVar[str] = "probe_finetuned"
    target_name: str
    dataset: Dataset
    shots: Shots
    model: str
    spec: ModelSpec
    recipe_name: str
    recipe: Recipe
    seed: int
    sample: Sample
    inputs: InputProbes
    confidence: float
    study_seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class PathJob(Job):
    """Measure the distance and the ways between two pretrained solutions."""

    stage: ClassVar[str] = "path"
    first: str
    second: str
    source: str
    spec: ModelSpec
    dataset: Dataset
    recipe: Recipe
    sample: Sample
    paths: Paths
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class ContinualJob(Job):
    """Fine-tune one model on a target part by part."""

    stage: ClassVar[str] = "continual"
    target_name: str
    target: Target
    dataset: Dataset
    model: str
    spec: ModelSpec
    recipe_name: str
    recipe: Recipe
    parts: int
    part_by: Literal["classes", "images"]
    study_seed: int
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class AggregateJob(Job):
    """Gather all rows into the result tables and judge the scores."""

    stage: ClassVar[str] = "aggregate"
    study: str
    selection: Selection
    licences: dict[str, str | None]
    seed: int


class ReportJob(Job):
    """Draw the report page from the tables."""

    stage: ClassVar[str] = "report"
    study: str
    selection: Selection


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
        entry = self.study.zoo[model]
        return PretrainJob(
            model=model,
            source=entry.source,
            spec=ModelSpec.of(entry),
            dataset=self._images(entry.source),
            recipe_name=entry.recipe,
            recipe=self.study.pretraining_recipes[entry.recipe],
            seed=self.study.seed,
            **self._compute(),
        )

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
            target_name=target,
            target=self.study.targets[target],
            dataset=self._images(self.study.targets[target].dataset),
            shots=parse_shots(shots),
            model=model,
            spec=ModelSpec.of(self.study.zoo[model]),
            probe=self.study.probe,
            seed=self.study.seed,
            **self._compute(),
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
            target_name=target,
            target=self.study.targets[target],
            dataset=self._images(self.study.targets[target].dataset),
            shots=parse_shots(shots),
            model=model,
            spec=ModelSpec.of(self.study.zoo[model]),
            recipe_name=recipe,
            recipe=self.study.finetuning_recipes[recipe],
            study_seed=self.study.seed,
            seed=int(seed),
            **self._compute(),
        )

    def retrieval(
        self, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> RetrievalJob:
        return RetrievalJob(
            target_name=target,
            dataset=self._images(self.study.targets[target].dataset),
            shots=parse_shots(shots),
            model=model,
            spec=ModelSpec.of(self.study.zoo[model]),
            recipe_name=recipe,
            recipe=self.study.finetuning_recipes[recipe],
            study_seed=self.study.seed,
            seed=int(seed),
            retrieval=self.study.retrieval,
            **self._compute(),
        )

    def probe(self, model: str) -> ProbeJob:
        entry, probes = self.study.zoo[model], self.study.minimisers
        return ProbeJob(
            model=model,
            source=entry.source,
            spec=ModelSpec.of(entry),
            dataset=self._images(entry.source),
            recipe=self.study.pretraining_recipes[entry.recipe],
            sample=probes.sample,
            inputs=probes.inputs,
            energy=probes.energy,
            confidence=probes.confidence,
            seed=self.study.seed,
            **self._compute(),
        )

    def probe_finetuned(
        self, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> ProbeFinetunedJob:
        probes = self.study.minimisers
        return ProbeFinetunedJob(
            target_name=target,
            dataset=self._images(self.study.targets[target].dataset),
            shots=parse_shots(shots),
            model=model,
            spec=ModelSpec.of(self.study.zoo[model]),
            recipe_name=recipe,
            recipe=self.study.finetuning_recipes[recipe],
            seed=int(seed),
            sample=probes.sample,
            inputs=probes.inputs,
            confidence=probes.confidence,
            study_seed=self.study.seed,
            **self._compute(),
        )

    def path(self, first: str, second: str) -> PathJob:
        entry, probes = self.study.zoo[first], self.study.minimisers
        return PathJob(
            first=first,
            second=second,
            source=entry.source,
            spec=ModelSpec.of(entry),
            dataset=self._images(entry.source),
            recipe=self.study.pretraining_recipes[entry.recipe],
            sample=probes.sample,
            # Which other pairs there are is no business of this one.
            paths=probes.paths.model_copy(update={"pairs": "all"}),
            seed=self.study.seed,
            **self._compute(),
        )

    def continual(self, target: str, model: str, seed: str) -> ContinualJob:
        continual = self.study.minimisers.continual
        return ContinualJob(
            target_name=target,
            target=self.study.targets[target],
            dataset=self._images(self.study.targets[target].dataset),
            model=model,
            spec=ModelSpec.of(self.study.zoo[model]),
            recipe_name=continual.recipe,
            recipe=self.study.finetuning_recipes[continual.recipe],
            parts=continual.parts,
            part_by=continual.part_by,
            study_seed=self.study.seed,
            seed=int(seed),
            **self._compute(),
        )

    def aggregate(self) -> AggregateJob:
        return AggregateJob(
            study=self.study.name,
            selection=self.study.selection,
            licences={name: entry.licence for name, entry in self.study.zoo.items()},
            seed=self.study.seed,
        )

    def report(self) -> ReportJob:
        return ReportJob(study=self.study.name, selection=self.study.selection)

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
    dataset = getattr(job, "dataset", None)
    if dataset is not None:
        entries.add(f"xferpipe.datasets.readers.{dataset.reader}")
    spec = getattr(job, "spec", None)
    if spec is not None:
        from xferpipe.config.zoo import architecture_family

        entries.add(f"xferpipe.zoo.architectures.{architecture_family(spec.architecture)}")
    recipe = getattr(job, "recipe", None)
    if recipe is not None:
        entries.add(f"xferpipe.training.algorithms.{recipe.algorithm}")
    if isinstance(job, LoadWeightsJob) and job.weights != "random":
        entries.add(f"xferpipe.zoo.origins.{job.weights}_weights")
    if isinstance(job, ScoresJob):
        entries.update(module_of(method) for method in job.scores.methods)
    return tuple(sorted(entries))
