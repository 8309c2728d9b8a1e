"""Measure the ways between two pretrained solutions."""

from pathlib import Path

from xferpipe.config import PathJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, PathJob) as job:
    from xferpipe.minimisers.path import path

    path(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        first=Path(snakemake.input.first),
        second=Path(snakemake.input.second),
        distances=Path(snakemake.output.distances),
        paths=Path(snakemake.output.paths),
    )
