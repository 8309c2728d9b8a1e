"""Records of the stages that probe pretrained solutions, and what becomes of them."""

from __future__ import annotations

from xferpipe.config import jobs
from xferpipe.config.study import Study, parse_shots
from xferpipe.graph.stage import Artifact, Needs
from xferpipe.graph.stages.parts import (
    FinetunedStage,
    ImageStage,
    entry,
    on_source,
    tuning,
    unjudged,
)


class Probe(ImageStage):
    """Perturb one pretrained solution and its source's images."""

    name = "probe"
    does = "probe the minimiser of {model}"
    place = "{model}"
    outputs = {"minimisers": "minimisers.parquet"}
    tables = {"minimisers": "minimisers"}
    minutes = 240

    def dataset(self, study: Study, model: str) -> str:
        return study.zoo[model].source

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [(model,) for model in _probed(study)]

    def job(self, study: Study, model: str) -> jobs.ProbeJob:
        probes = study.minimisers
        return jobs.ProbeJob(
            **on_source(study, model),
            model=model,
            sample=probes.sample,
            inputs=probes.inputs,
            energy=probes.energy,
            confidence=probes.confidence,
        )

    def needs(self, study: Study, model: str) -> Needs:
        return {**super().needs(study, model), "weights": entry(study, model)}


class Paths(ImageStage):
    """Measure the distance and the ways between two pretrained solutions."""

    name = "path"
    does = "measure the path from {first} to {second}"
    place = "{first}/{second}"
    outputs = {"distances": "distances.parquet", "paths": "paths.parquet"}
    tables = {"distances": "distances", "paths": "paths"}
    memory_mb, minutes = 8000, 240

    def dataset(self, study: Study, first: str, second: str) -> str:
        return study.zoo[first].source

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        asked = study.minimisers
        return [] if asked is None else asked.pairs(study.zoo, study.pretraining_recipes)

    def job(self, study: Study, first: str, second: str) -> jobs.PathJob:
        probes = study.minimisers
        return jobs.PathJob(
            **on_source(study, first),
            first=first,
            second=second,
            sample=probes.sample,
            # Which other pairs there are is no business of this one.
            paths=probes.paths.model_copy(update={"pairs": "all"}),
        )

    def needs(self, study: Study, first: str, second: str) -> Needs:
        ends = {"first": entry(study, first), "second": entry(study, second)}
        return {**super().needs(study, first, second), **ends}


class ProbeFinetuned(FinetunedStage):
    """Perturb the test images of one fine-tuned model."""

    name = "probe_finetuned"
    does = "probe the fine-tuned {model} on {target}: {shots}, {recipe}, seed {seed}"
    outputs = {"minimisers": "minimisers.parquet"}
    tables = {"minimisers": "minimisers"}
    reads = ("manifest", "finetunes")
    minutes = 120

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        probed, targets = _probed(study), _classification(study)
        return [
            run
            for run in study.runs()
            if run.model in probed
            and run.target in targets
            and (study.minimisers.finetuned == "all" or run.recipe in study.minimisers.finetuned)
        ]

    def job(
        self, study: Study, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> jobs.ProbeFinetunedJob:
        probes = study.minimisers
        return jobs.ProbeFinetunedJob(
            **tuning(study, target, model, recipe, seed),
            shots=parse_shots(shots),
            sample=probes.sample,
            inputs=probes.inputs,
            confidence=probes.confidence,
        )

    def needs(self, study: Study, *run: str) -> Needs:
        return {**super().needs(study, *run), "run": Artifact("finetune", run, "run")}


class Continual(ImageStage):
    """Fine-tune one model on a target part by part."""

    name = "continual"
    does = "measure what {model} forgets on {target}: seed {seed}"
    place = "{target}/{model}/seed{seed}"
    outputs = {"forgetting": "forgetting.parquet"}
    tables = {"forgetting": "forgetting"}
    trains = True
    memory_mb, minutes = 8000, 720

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        asked = study.minimisers and study.minimisers.continual
        if asked is None:
            return []
        return [
            (target, model, str(seed))
            for target in _classification(study)
            for model in _probed(study)
            if asked.models == "all" or model in asked.models
            for seed in asked.seeds
        ]

    def job(self, study: Study, target: str, model: str, seed: str) -> jobs.ContinualJob:
        continual = study.minimisers.continual
        return jobs.ContinualJob(
            **tuning(study, target, model, continual.recipe, seed),
            target=unjudged(study, target),
            parts=continual.parts,
            part_by=continual.part_by,
        )

    def needs(self, study: Study, target: str, model: str, seed: str) -> Needs:
        return {**super().needs(study, target), "weights": entry(study, model)}


def _probed(study: Study) -> list[str]:
    """Return the models that are probed; none where the study has no minimisers."""
    return [] if study.minimisers is None else list(study.minimisers.probed(study.zoo))


def _classification(study: Study) -> list[str]:
    return [name for name, target in study.targets.items() if target.task == "classification"]
