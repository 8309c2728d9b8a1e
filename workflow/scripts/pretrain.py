"""Train a zoo entry on its source."""

from pathlib import Path

from xferpipe.config import PretrainJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, PretrainJob) as job:
    from xferpipe.pretrain import pretrain

    pretrain(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        initial=Path(snakemake.input.initial) if snakemake.input.initial else None,
        checkpoint=Path(snakemake.params.checkpoint),
        weights=Path(snakemake.output.weights),
        card=Path(snakemake.output.card),
        class_means=Path(snakemake.output.class_means),
        epochs=Path(snakemake.output.epochs),
    )
