"""Pass probe images through the small network trained on the target."""

from pathlib import Path

from xferpipe.config import ReferenceJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, ReferenceJob) as job:
    from xferpipe.features import features

    features(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        weights=Path(snakemake.input.weights),
        output=Path(snakemake.output[0]),
    )
