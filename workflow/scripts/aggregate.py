"""Gather all rows and judge the scores."""

from pathlib import Path

from xferpipe.config import AggregateJob
from xferpipe.rebuild.job_script import job_script


def paths(name):
    return [Path(path) for path in snakemake.input.get(name, [])]


with job_script(snakemake, AggregateJob) as job:
    from xferpipe.aggregate import aggregate

    aggregate(
        job,
        zoo=paths("zoo"),
        epochs=paths("epochs"),
        scores=paths("scores"),
        finetunes=paths("finetunes"),
        retrieval=paths("retrieval"),
        queries=paths("queries"),
        ranked_lists=paths("ranked_lists"),
        benchmarks=paths("benchmarks"),
        output=Path(snakemake.output[0]).parent,
        camera_pairs=paths("camera_pairs"),
        minimisers=paths("minimisers"),
        distances=paths("distances"),
        paths=paths("paths"),
        forgetting=paths("forgetting"),
        feature_correlation=paths("feature_correlation"),
    )
