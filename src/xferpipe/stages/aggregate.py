"""The aggregate stage: gather every job's rows into the result tables and judge the scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import polars

from xferpipe.aggregate.answers import answers, places_of
from xferpipe.aggregate.best_scores import best_scores
from xferpipe.aggregate.by_model import PLACE, with_key
from xferpipe.aggregate.choice import choices
from xferpipe.aggregate.earlier import Earlier
from xferpipe.aggregate.efficiency import efficiency
from xferpipe.aggregate.gather import gather, table_of
from xferpipe.aggregate.oracle import oracle
from xferpipe.aggregate.properties import partials, with_properties
from xferpipe.aggregate.redraws import Outcomes, outcomes
from xferpipe.aggregate.runtime import runtime
from xferpipe.aggregate.selection import selection_and_gains
from xferpipe.aggregate.speed import speed_runs, speed_selection
from xferpipe.config.jobs import AggregateJob
from xferpipe.evidence.answers import Asked
from xferpipe.records import frame, write_table

log = logging.getLogger(__name__)

#: Tables that are made of the gathered ones.
MADE = (
    "targets",
    "answers",
    "selection",
    "gains",
    "choices",
    "best_scores",
    "efficiency",
    "partial_correlations",
    "runtime",
)


def aggregate(
    job: AggregateJob,
    *,
    rows: Mapping[str, Sequence[Path]],
    benchmarks: Sequence[Path],
    history: Mapping[str, Path],
    tables: Mapping[str, Path],
) -> None:
    """Write every result table.

    Args:
        job: How scores are judged.
        rows: Files whose rows are gathered, by table; a table without any is empty.
        benchmarks: Snakemake's benchmark files, `benchmarks/<stage>/<wildcards>.tsv`.
        history: Results of earlier studies.
        tables: Written: the result tables by name, all in one folder.
    Raises:
        RecordError: A file is not the table it should be.
    """
    licences = {"licence": job.licences, "source_licence": job.source_licences}
    for name in tables:
        if name not in MADE:
            gather(name, rows.get(name, ()), tables[name], known=licences if name == "zoo" else {})
    write_table("targets", frame("targets", _targets(job)), tables["targets"])

    output = tables["selection"].parent
    judged = oracle(job.selection, output)
    _tell_of_runs_without_part(judged)
    scores = table_of("scores", output).collect(engine="streaming")
    earlier = Earlier(output, job.study, history.values())
    score_rows = with_properties(polars.concat([scores, earlier.score_rows(scores)]), output)

    # Few at a time: of a large target each takes tens of MiB.
    @lru_cache(maxsize=4)
    def known(*place: str) -> Mapping[str, Outcomes]:
        return outcomes(output, *place)

    selection, gains = selection_and_gains(job.selection, judged, score_rows, job.seed, known=known)
    timed = speed_selection(job.selection, speed_runs(job.selection, output), score_rows, job.seed)
    for name, table in (
        ("answers", _answers(job, output, earlier)),
        ("selection", polars.concat([selection, timed])),
        ("gains", gains),
        ("choices", choices(selection)),
        ("best_scores", best_scores(selection, judged, score_rows, job.seed)),
        ("efficiency", efficiency(job.selection, judged, gains, job.seed, known=known)),
        ("partial_correlations", partials(job, score_rows, judged, output)),
        ("runtime", runtime(benchmarks)),
    ):
        write_table(name, table, tables[name])


def _answers(job: AggregateJob, folder: Path, earlier: Earlier) -> polars.DataFrame:
    """Answer for every target with a fine-tune or a score, by the rules of its race if any."""
    races = {(race.targets[0], str(race.shots[0])): race for race in job.races}
    options = {"level": job.selection.confidence, "reference": job.selection.reference_model}
    asked = {
        place: Asked(races[place].confidence, races[place].indifference, **options)
        if place in races
        else Asked(**options)
        for place in [*places_of(folder), *races]
    }
    return answers(
        folder,
        asked,
        recipes=dict.fromkeys(asked, job.recipes),
        own=job.selection.own_results,
        earlier=earlier,
    )


def _tell_of_runs_without_part(runs: polars.DataFrame) -> None:
    """Say which runs are reported and choose nothing."""
    aside = with_key(runs, PLACE).filter(polars.col("key").is_null())
    for (target, shots), part in aside.group_by("target", "shots", maintain_order=True):
        log.warning(
            "%s, shots %s: %d runs have no validation figure, which others of the target have: "
            "they are reported and take no part in choosing (models %s)",
            *(target, shots, part.height, ", ".join(part["model"].unique(maintain_order=True))),
        )


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
