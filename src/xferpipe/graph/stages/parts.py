"""What records of several stages share: parts of a study, and of what a job reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xferpipe.config.datasets import Dataset
from xferpipe.config.jobs import ModelSpec, Ranked
from xferpipe.config.study import Study, Target, parse_shots
from xferpipe.graph.stage import Artifact, Needs, Stage

#: Places of jobs on a model and a target, and of fine-tuning runs.
PAIR = "{target}/{shots}/{model}"
RUN = "{target}/{shots}/{model}/{recipe}/seed{seed}"


#: Options of a target that change fine-tunes of few shots alone, at their defaults.
_OF_FEW_SHOTS = {"validation": "split", "draws": "fixed"}


class ImageStage(Stage):
    """A stage that reads the images of one data set."""

    reads = ("manifest",)
    gpu = True
    parallel = True

    def dataset(self, study: Study, *wildcards: str) -> str:
        """Return the name of the data set: the target's, unless a stage says otherwise."""
        return study.targets[wildcards[0]].dataset

    def needs(self, study: Study, *wildcards: str) -> Needs:
        return images(study, self.dataset(study, *wildcards))

    def user_files(self, study: Study, *wildcards: str) -> list[Dataset | Path]:
        return opened_files(study, self.dataset(study, *wildcards))


class FinetunedStage(ImageStage):
    """A stage that runs a fine-tuned model."""

    place = RUN

    def needs(self, study: Study, *run: str) -> Needs:
        return {**super().needs(study, *run), "weights": Artifact("finetune", run, "weights")}


def block(study: Study, dataset: str) -> Dataset:
    """Return a data set without its licence, which is shown and never computed with."""
    return study.datasets[dataset].model_copy(update={"licence": None})


def ranked(study: Study, dataset: str) -> Ranked | None:
    """Return what retrieval targets ask of a data set; None where it is of none."""
    of_set = [(name, one) for name, one in study.targets.items() if one.dataset == dataset]
    if not any(target.task == "retrieval" for _, target in of_set):
        return None
    options = study.retrieval
    return Ranked(
        junk_rule=options.junk_rule,
        leave_self_out=options.leave_self_out,
        trained=any(study.trains_on(name) for name, _ in of_set),
    )


def unjudged(study: Study, target: str) -> Target:
    """Return a target without what it is judged by, for stages that only take its images.

    Nor does it matter to them how the runs draw few shots, and what these are chosen on.
    """
    return study.targets[target].model_copy(update={"judged_by": "accuracy", **_OF_FEW_SHOTS})


def tuned(study: Study, target: str, shots: str) -> Target:
    """Return a target as its fine-tunes see it: options of few shots are nothing to full ones."""
    unused = _OF_FEW_SHOTS if shots == "full" else {}
    return study.targets[target].model_copy(update=unused)


def is_generated(study: Study, dataset: str) -> bool:
    """Tell whether the workflow draws a data set's images."""
    return getattr(study.datasets[dataset], "generate", None) is not None


def root(study: Study, dataset: str) -> Artifact | Path | None:
    """Return the folder of a data set's images: a generated one, the user's, or none."""
    if is_generated(study, dataset):
        return Artifact("generate", (dataset,), "root")
    return getattr(study.datasets[dataset], "root", None)


def images(study: Study, dataset: str) -> Needs:
    """Return what reading a data set's images needs."""
    packed = study.datasets[dataset].pack
    return {
        "manifest": Artifact("manifest", (dataset,), "manifest"),
        "images": Artifact("pack", (dataset,), "images") if packed else None,
        "root": root(study, dataset),
    }


def own_files(study: Study, dataset: str) -> list[Dataset | Path]:
    """Return a data set whose files are the user's, for a stage that opens them."""
    return [] if is_generated(study, dataset) else [study.datasets[dataset]]


def opened_files(study: Study, dataset: str) -> list[Dataset | Path]:
    """Return a data set whose files every stage that reads its images opens: one not packed."""
    return [] if study.datasets[dataset].pack else own_files(study, dataset)


def entry(study: Study, model: str, name: str = "weights") -> Artifact:
    """Return a file of a zoo entry, wherever its weights come from."""
    stages = {"pretrain": "pretrain", "expert": "domain"}
    return Artifact(stages.get(study.zoo[model].weights, "load_weights"), (model,), name)


def compute(study: Study) -> dict[str, Any]:
    """Return the fields of `ComputingJob`."""
    return {"compute_threads": study.compute_threads, "device": study.device}


def on_source(study: Study, model: str) -> dict[str, Any]:
    """Return the fields of `SourceJob`; two solutions of a path share those of the first."""
    pretrained = study.zoo[model]
    return {
        "source": pretrained.source,
        "spec": ModelSpec.of(pretrained),
        "dataset": block(study, pretrained.source),
        "recipe": study.pretraining_recipes[pretrained.recipe],
        "seed": study.seed,
        **compute(study),
    }


def on_target(study: Study, target: str, model: str) -> dict[str, Any]:
    """Return the fields of `TargetJob`."""
    return {
        "target_name": target,
        "dataset": block(study, study.targets[target].dataset),
        "model": model,
        "spec": ModelSpec.of(study.zoo[model]),
        **compute(study),
    }


def on_probe(study: Study, target: str, shots: str, model: str) -> dict[str, Any]:
    """Return the fields of `FeaturesJob`."""
    return {
        **on_target(study, target, model),
        "target": unjudged(study, target),
        "shots": parse_shots(shots),
        "probe": study.probe,
        "seed": study.seed,
    }


def tuning(study: Study, target: str, model: str, recipe: str, seed: str) -> dict[str, Any]:
    """Return the fields of `TuningJob`."""
    return {
        **on_target(study, target, model),
        "recipe_name": recipe,
        "recipe": study.finetuning_recipes[recipe],
        "study_seed": study.seed,
        "seed": int(seed),
    }
