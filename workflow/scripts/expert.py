"""Train a multi-domain expert."""

from pathlib import Path

from xferpipe.config import ExpertJob
from xferpipe.rebuild.job_script import job_script


def by_source(paths, has):
    """Give each source its file or folder, in the order of the sources; None to one without."""
    waiting = iter(paths)
    return {
        source: Path(next(waiting)) if has(block) else None
        for source, block in job.datasets.items()
    }


with job_script(snakemake, ExpertJob) as job:
    from xferpipe.expert import expert

    generated = by_source(
        snakemake.input.roots, lambda block: getattr(block, "generate", None) is not None
    )
    domains = Path(snakemake.output.domains)
    expert(
        job,
        manifests=by_source(snakemake.input.manifests, lambda block: True),
        images=by_source(snakemake.input.images, lambda block: block.pack),
        roots={
            source: generated[source] or getattr(block, "root", None)
            for source, block in job.datasets.items()
        },
        initial=Path(snakemake.input.initial) if snakemake.input.initial else None,
        checkpoint=Path(snakemake.params.checkpoint),
        outputs={source: domains / source for source in job.datasets},
        epochs=Path(snakemake.output.epochs),
    )
