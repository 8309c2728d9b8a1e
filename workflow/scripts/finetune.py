"""Fine-tune a model on a target."""

from pathlib import Path

from xferpipe.config import FinetuneJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, FinetuneJob) as job:
    from xferpipe.finetune import finetune

    finetune(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        weights=Path(snakemake.input.weights),
        checkpoint=Path(snakemake.params.checkpoint),
        tuned_weights=Path(snakemake.output.weights),
        run=Path(snakemake.output.run),
        epochs=Path(snakemake.output.epochs),
        feature_correlation=Path(snakemake.output.feature_correlation),
    )
