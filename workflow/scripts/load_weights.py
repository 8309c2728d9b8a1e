"""Bring a zoo entry's weights."""

from pathlib import Path

from xferpipe.config import LoadWeightsJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, LoadWeightsJob) as job:
    from xferpipe.load_weights import load_weights

    load_weights(
        job,
        weights=Path(snakemake.output.weights),
        card=Path(snakemake.output.card),
        class_means=Path(snakemake.output.class_means),
    )
