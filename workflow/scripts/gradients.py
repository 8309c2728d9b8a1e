"""Take per-image gradients of a model's last convolution."""

from pathlib import Path

from xferpipe.config import GradientsJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, GradientsJob) as job:
    from xferpipe.gradients import gradients

    gradients(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        weights=Path(snakemake.input.weights),
        output=Path(snakemake.output[0]),
    )
