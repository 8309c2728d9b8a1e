"""Stage: gather every job's rows into the result tables and judge the scores by the fine-tunes.

`gather.py` concatenates, `oracle.py` says how well each model fine-tuned, `agreement.py` and
`orders.py` hold the statistics, and the other modules make one table each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xferpipe.config import AggregateJob

__all__ = ["aggregate"]


def aggregate(
    job: AggregateJob,
    *,
    zoo: Sequence[Path],
    epochs: Sequence[Path],
    scores: Sequence[Path],
    finetunes: Sequence[Path],
    retrieval: Sequence[Path],
    queries: Sequence[Path],
    ranked_lists: Sequence[Path],
    benchmarks: Sequence[Path],
    output: Path,
    camera_pairs: Sequence[Path] = (),
    minimisers: Sequence[Path] = (),
    distances: Sequence[Path] = (),
    paths: Sequence[Path] = (),
    forgetting: Sequence[Path] = (),
    feature_correlation: Sequence[Path] = (),
) -> None:
    """Write every result table.

    Args:
        job: How scores are judged.
        zoo: Cards, one row each.
        epochs: Tables `epochs` of pretrainings and fine-tunes.
        scores: Tables `scores`.
        finetunes: Tables `finetunes`.
        retrieval: Tables `retrieval`.
        queries: Tables `retrieval_queries`.
        ranked_lists: Tables `ranked_lists`.
        benchmarks: Snakemake's benchmark files, `benchmarks/<stage>/<wildcards>.tsv`.
        output: Folder of the tables; each is `<table>.parquet`.
        camera_pairs: Tables `camera_pairs`.
        minimisers: Tables `minimisers`.
        distances: Tables `distances`.
        paths: Tables `paths`.
        forgetting: Tables `forgetting`.
        feature_correlation: Tables `feature_correlation` of the fine-tunes that took features.
    Raises:
        RecordError: A file is not the table it should be.
    """
    import polars

    from xferpipe.aggregate.choice import choices
    from xferpipe.aggregate.efficiency import efficiency
    from xferpipe.aggregate.gather import gather, table_of
    from xferpipe.aggregate.oracle import oracle
    from xferpipe.aggregate.properties import partials, with_properties
    from xferpipe.aggregate.runtime import runtime
    from xferpipe.aggregate.selection import selection_and_gains
    from xferpipe.aggregate.speed import speed_runs, speed_selection
    from xferpipe.records import frame, write_table

    licences = {"licence": job.licences, "source_licence": job.source_licences}
    gather("zoo", zoo, output, known=licences)
    for name, files in (
        ("epochs", epochs),
        ("scores", scores),
        ("finetunes", finetunes),
        ("retrieval", retrieval),
        ("retrieval_queries", queries),
        ("ranked_lists", ranked_lists),
        ("camera_pairs", camera_pairs),
        ("minimisers", minimisers),
        ("distances", distances),
        ("paths", paths),
        ("forgetting", forgetting),
        ("feature_correlation", feature_correlation),
    ):
        gather(name, files, output)

    judged = oracle(job.selection, output)
    score_rows = with_properties(table_of("scores", output).collect(engine="streaming"), output)
    selection, gains = selection_and_gains(job.selection, judged, score_rows, job.seed)
    timed = speed_selection(job.selection, speed_runs(job.selection, output), score_rows, job.seed)
    for name, table in (
        ("targets", frame("targets", _targets(job))),
        ("selection", polars.concat([selection, timed])),
        ("gains", gains),
        ("choices", choices(selection)),
        ("efficiency", efficiency(job.selection, judged, gains)),
        ("partial_correlations", partials(job, score_rows, judged, output)),
        ("runtime", runtime(benchmarks)),
    ):
        write_table(name, table, output / f"{name}.parquet")


def _targets(job: AggregateJob) -> list[dict[str, str | None]]:
    """Return the rows of table `targets`."""
    return [
        {
            "target": name,
            "dataset": target.dataset,
            "task": target.task,
            "licence": job.target_licences.get(name),
        }
        for name, target in job.targets.items()
    ]
