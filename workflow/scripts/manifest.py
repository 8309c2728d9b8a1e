"""List a data set."""

from pathlib import Path

from xferpipe.config import ManifestJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, ManifestJob) as job:
    from xferpipe.datasets.manifest import manifest

    manifest(job, root=job.root(snakemake.input.root), output=Path(snakemake.output[0]))
