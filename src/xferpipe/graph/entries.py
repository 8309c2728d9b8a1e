"""The registered modules that a job names: reader, architecture, algorithm, ranking, scores."""

from __future__ import annotations

from xferpipe.config.jobs import FinetuneJob, Job, LoadWeightsJob, ScoresJob
from xferpipe.config.scores import module_of
from xferpipe.config.zoo import architecture_family


def entries_of(job: Job) -> tuple[str, ...]:
    """Name the registered modules that a job uses, and none of their siblings."""
    entries = set()
    datasets = list(getattr(job, "datasets", {}).values())
    if hasattr(job, "dataset"):
        datasets.append(job.dataset)
    entries.update(f"xferpipe.datasets.readers.{dataset.reader}" for dataset in datasets)
    architectures = list(getattr(job, "architectures", ()))
    if (spec := getattr(job, "spec", None)) is not None:
        architectures.append(spec.architecture)
    entries.update(f"xferpipe.zoo.architectures.{architecture_family(a)}" for a in architectures)
    recipe = getattr(job, "recipe", None)
    if recipe is not None:
        entries.add(f"xferpipe.training.algorithms.{recipe.algorithm}")
    if isinstance(job, LoadWeightsJob) and job.weights != "random":
        entries.add(f"xferpipe.zoo.origins.{job.weights}_weights")
    if isinstance(job, ScoresJob):
        entries.update(module_of(method) for method in job.scores.methods)
    if isinstance(job, FinetuneJob) and job.ranking is not None:
        entries.add("xferpipe.retrieval.held_out")
    if getattr(job, "ranked", None) is not None:
        entries.add("xferpipe.datasets.rankable")
    return tuple(sorted(entries))
