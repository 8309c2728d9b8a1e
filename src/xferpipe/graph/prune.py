"""Weights that nobody needs any more: of fine-tunes that lost a race which has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xferpipe.config.race import Run
from xferpipe.graph.graph import JobId, all_jobs, needs_of
from xferpipe.graph.keys import Keys
from xferpipe.graph.races import Races
from xferpipe.graph.stage import Artifact, artifacts
from xferpipe.graph.stages import STAGES, path_of
from xferpipe.records import read_table
from xferpipe.records.stamp import read_stamp


class Loser(NamedTuple):
    """Weights that may go.

    Attributes:
        run: The fine-tune.
        path: Its weights, below the study's results.
        size: Their bytes.
    """

    run: Run
    path: str
    size: int


def losers(keys: Keys, results: Path) -> list[Loser]:
    """Return the weights that `keep` of the study's races does not keep, and that nothing needs.

    Weights stay where the race goes on, of runs that the grids name, and where a job that reads
    them is still to be done. The rows of all runs stay in any case, so that nothing runs again.

    Args:
        keys: Keys of the study.
        results: Folder of the study's results.
    """
    Races(keys, results).follow()
    found = {run: weights_of(run) for run in _lost(keys, results)}
    needed = set(_needed(keys, results)) if found else set()
    return [
        Loser(run, path_of(weights), (results / path_of(weights)).stat().st_size)
        for run, weights in found.items()
        if weights not in needed and (results / path_of(weights)).is_file()
    ]


def weights_of(run: Run) -> Artifact:
    """Return the weights of a fine-tune."""
    return Artifact("finetune", tuple(run), "weights")


def _lost(keys: Keys, results: Path) -> Iterator[Run]:
    """Yield the runs of races that have ended, but for those that `keep` and the grids name."""
    study = keys.study
    grid = set(study.grid_runs())
    for place, race in study.races().items():
        decided = study.decided(*place)
        if race.keep == "all" or decided.stopped is None:
            continue
        last = (*place, str(len(decided.rounds) - 1))
        path = results / STAGES["choose"].path(last, "decision")
        kept = _kept_pairs(path, race.keep)
        for run in decided.runs:
            if kept and run not in grid and (run.model, run.recipe) not in kept:
                yield run


def _kept_pairs(decision: Path, keep: str) -> set[tuple[str, str]]:
    """Return the pairs whose weights stay; none where the race found no best, so that all do."""
    rows = read_table("decisions", decision, ours=True)
    named = rows.filter("named")
    # Where no pair is named, any of the top group may be the best.
    best = named if keep == "winner" and len(named) else rows.filter("top")
    return set(best.select("model", "recipe").iter_rows())


def _needed(keys: Keys, results: Path) -> Iterator[Artifact]:
    """Yield the fine-tuned weights that a job still to be done reads."""
    for job in all_jobs(keys.study):
        opened = STAGES[job[0]].opens(keys.study, *job[1:])
        read = [
            need
            for need in (*artifacts(needs_of(keys.study, job)), *opened)
            if need.stage == "finetune" and need.name == "weights"
        ]
        if read and not _is_done(keys, results, job):
            yield from read


def _is_done(keys: Keys, results: Path, job: JobId) -> bool:
    record, key = STAGES[job[0]], keys(*job).key
    stamps = (read_stamp(results / record.path(job[1:], name)) for name in record.files)
    return all(stamp is not None and stamp.key == key for stamp in stamps)
