"""Take a domain of an expert as a zoo entry."""

from pathlib import Path

from xferpipe.config import DomainJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, DomainJob) as job:
    from xferpipe.domain import domain

    domain(
        job,
        domains=Path(snakemake.input[0]),
        weights=Path(snakemake.output.weights),
        card=Path(snakemake.output.card),
        class_means=Path(snakemake.output.class_means),
    )
