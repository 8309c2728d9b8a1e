"""Rank a gallery for every query with a fine-tuned model."""

from pathlib import Path

from xferpipe.config import RetrievalJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, RetrievalJob) as job:
    from xferpipe.retrieval.stage import retrieval

    retrieval(
        job,
        manifest=Path(snakemake.input.manifest),
        images=Path(snakemake.input.images) if snakemake.input.images else None,
        root=job.root(snakemake.input.root),
        weights=Path(snakemake.input.weights),
        retrieval=Path(snakemake.output.retrieval),
        queries=Path(snakemake.output.queries),
        ranked_lists=Path(snakemake.output.ranked_lists),
        picture=Path(snakemake.output.picture),
        camera_pairs=Path(snakemake.output.camera_pairs),
    )
