"""Decode a data set's images once."""

from pathlib import Path

from xferpipe.config import PackJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, PackJob) as job:
    from xferpipe.datasets.pack import pack

    pack(
        job,
        manifest=Path(snakemake.input.manifest),
        root=job.root(snakemake.input.root),
        output=Path(snakemake.output[0]),
    )
