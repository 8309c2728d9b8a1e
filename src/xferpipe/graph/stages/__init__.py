"""The stages of the workflow: one record each, in the order of the way from data to report.

A record stands in the module that is named like the file of its rule in `workflow/rules`.
"""

from __future__ import annotations

from xferpipe.config.jobs import Job
from xferpipe.config.study import Study
from xferpipe.graph.stage import Artifact, Stage
from xferpipe.graph.stages.choose import Choose
from xferpipe.graph.stages.data import Generate, Manifest, Pack
from xferpipe.graph.stages.export import Export, ExportOnnx
from xferpipe.graph.stages.finetune import Finetune, Retrieval
from xferpipe.graph.stages.minimisers import Continual, Paths, Probe, ProbeFinetuned
from xferpipe.graph.stages.scores import Features, Gradients, Reference, Scores
from xferpipe.graph.stages.tables import Aggregate, Figures, Report
from xferpipe.graph.stages.zoo import Cost, Domain, Expert, LoadWeights, Pretrain

STAGES: dict[str, Stage] = {
    stage.name: stage()
    for stage in (
        *(Generate, Manifest, Pack),
        *(Pretrain, Expert, Domain, LoadWeights, Cost),
        *(Features, Gradients, Reference, Scores),
        *(Choose, Finetune, Retrieval),
        *(Probe, Paths, ProbeFinetuned, Continual),
        *(Aggregate, Report, Figures),
        *(Export, ExportOnnx),
    )
}


def job_of(study: Study, stage: str, *wildcards: str) -> Job:
    """Return the slice of a job."""
    return STAGES[stage].job(study, *wildcards)


def path_of(artifact: Artifact) -> str:
    """Return the path of a job's file below the study's results."""
    return STAGES[artifact.stage].path(artifact.wildcards, artifact.name)


def job_name(stage: str, wildcards: tuple[str, ...]) -> str:
    """Return the name of a job, as `finetune digits/full/resnet8/sgd/0`."""
    return f"{stage} {'/'.join(wildcards)}".rstrip()
