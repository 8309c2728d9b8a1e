"""Probe one fine-tuned model."""

from pathlib import Path

from xferpipe.config import ProbeFinetunedJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, ProbeFinetunedJob) as job:
    from xferpipe.minimisers.probe_finetuned import probe_finetuned

    probe_finetuned(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        weights=Path(snakemake.input.weights),
        run=Path(snakemake.input.run),
        output=Path(snakemake.output[0]),
    )
