"""The aggregate stage: gather every job's rows into the result tables and judge the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars

from xferpipe.aggregate.choice import choices
from xferpipe.aggregate.efficiency import efficiency
from xferpipe.aggregate.gather import gather, table_of
from xferpipe.aggregate.oracle import oracle
from xferpipe.aggregate.properties import partials, with_properties
from xferpipe.aggregate.runtime import runtime
from xferpipe.aggregate.selection import selection_and_gains
from xferpipe.aggregate.speed import speed_runs, speed_selection
from xferpipe.config.jobs import AggregateJob
from xferpipe.records import frame, write_table

#: Tables that are made of the gathered ones.
MADE = (
    "targets",
    "selection",
    "gains",
    "choices",
    "efficiency",
    "partial_correlations",
    "runtime",
)


def aggregate(
    job: AggregateJob,
    *,
    rows: Mapping[str, Sequence[Path]],
    benchmarks: Sequence[Path],
    tables: Mapping[str, Path],
) -> None:
    """Write every result table.

    Args:
        job: How scores are judged.
        rows: Files whose rows are gathered, by table; a table without any is empty.
        benchmarks: Snakemake's benchmark files, `benchmarks/<stage>/<wildcards>.tsv`.
        tables: Written: the result tables by name, all in one folder.
    Raises:
        RecordError: A file is not the table it should be.
    """
    licences = {"licence": job.licences, "source_licence": job.source_licences}
    for name in tables:
        if name not in MADE:
            gather(name, rows.get(name, ()), tables[name], known=licences if name == "zoo" else {})

    output = tables["selection"].parent
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
        write_table(name, table, tables[name])


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
