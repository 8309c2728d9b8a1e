"""Train a multi-domain expert."""

from pathlib import Path

from xferpipe.config import ExpertJob
from xferpipe.rebuild.job_script import job_script


def by_source(paths, stage):
    """Give each source its file or folder below results/<stage>/<source>."""
    found = {Path(path).relative_to("results", stage).parts[0]: Path(path) for path in paths}
    return {source: found.get(source) for source in job.datasets}


with job_script(snakemake, ExpertJob) as job:
    from xferpipe.expert import expert

    generated = by_source(snakemake.input.roots, "generate")
    domains = Path(snakemake.output.domains)
    expert(
        job,
        manifests=by_source(snakemake.input.manifests, "manifest"),
        images=by_source(snakemake.input.images, "pack"),
        roots={
            source: generated[source] or getattr(block, "root", None)
            for source, block in job.datasets.items()
        },
        initial=Path(snakemake.input.initial) if snakemake.input.initial else None,
        checkpoint=Path(snakemake.params.checkpoint),
        outputs={source: domains / source for source in job.datasets},
        epochs=Path(snakemake.output.epochs),
    )
