"""Score a model on a target."""

from pathlib import Path

from xferpipe.config import ScoresJob
from xferpipe.rebuild.job_script import job_script


def optional(name):
    path = snakemake.input.get(name)
    return Path(path) if path else None


with job_script(snakemake, ScoresJob) as job:
    from xferpipe.scores.stage import scores

    scores(
        job,
        features=Path(snakemake.input.features),
        card=Path(snakemake.input.card),
        class_means=Path(snakemake.input.class_means),
        output=Path(snakemake.output[0]),
        gradients=optional("gradients"),
        reference=optional("reference"),
    )
