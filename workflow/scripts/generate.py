"""Write a generated re-identification set."""

from pathlib import Path

from xferpipe.config import GenerateJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, GenerateJob) as job:
    from xferpipe.datasets.generate import generate

    generate(job, output=Path(snakemake.output[0]))
