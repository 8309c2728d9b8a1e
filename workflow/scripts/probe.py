"""Probe one pretrained solution."""

from pathlib import Path

from xferpipe.config import ProbeJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, ProbeJob) as job:
    from xferpipe.minimisers.probe import probe

    probe(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        weights=Path(snakemake.input.weights),
        output=Path(snakemake.output[0]),
    )
