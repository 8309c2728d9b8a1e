"""Fine-tune a model on a target part by part."""

from pathlib import Path

from xferpipe.config import ContinualJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, ContinualJob) as job:
    from xferpipe.minimisers.continual import continual

    continual(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        weights=Path(snakemake.input.weights),
        checkpoint=Path(snakemake.params.checkpoint),
        output=Path(snakemake.output[0]),
    )
