"""Results from elsewhere: what their keys allow to be used, and why not for all else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from xferpipe.graph.first_seconds import keep_first_seconds
from xferpipe.graph.graph import JobId, all_jobs
from xferpipe.graph.keys import Keys
from xferpipe.graph.plan import stale_words
from xferpipe.graph.races import Races, lies_below_races
from xferpipe.graph.stage import BENCHMARK, SIDECAR
from xferpipe.graph.stages import STAGES
from xferpipe.records import RecordError, atomic_path, check_digest
from xferpipe.records.stamp import Stamp, read_stamp, sidecar_of, stamping


class Finding(NamedTuple):
    """What was found of one output.

    Attributes:
        job: Name of the job.
        path: Path below the study's results.
        verdict: `present` in the study's results, `adopted` into them, or `refused`.
        reason: Why it was refused.
    """

    job: str
    path: str
    verdict: Literal["present", "adopted", "refused"]
    reason: str = ""


def adopt(keys: Keys, results: Path, source: Path | None = None) -> Iterator[Finding]:
    """Check the outputs of a study by the keys in them, and take over those of another folder.

    Nothing without the right key is ever taken, and no key is ever written.

    Args:
        keys: Keys of the study.
        results: Folder of the study's results.
        source: Results of another run or study; None only checks the study's own.
    Yields:
        One finding for every output that exists in either folder.
    """
    for job in _jobs(keys, results):
        stage, *wildcards = job
        record, stamp = STAGES[stage], keys(*job).stamp
        for name in record.files:
            if name == SIDECAR:
                continue
            path = record.path(tuple(wildcards), name)
            finding = _finding(stamp, path, results, source)
            if finding is not None:
                yield finding
                if finding.verdict == "adopted":
                    _copy_benchmark(job, results, source)
                    if name == record.timed:
                        with stamping(stamp):
                            table = record.tables[name]
                            keep_first_seconds(table, results / path, stamp.key, results)


def _jobs(keys: Keys, results: Path) -> Iterator[JobId]:
    """Yield every job once; those that a race's round asks for when the round is there."""
    races, seen = Races(keys, results), set()
    while True:
        races.follow()
        left = [job for job in all_jobs(keys.study) if job not in seen]
        if not left:
            return
        # The keys of tables are right when all rounds are known.
        now = [job for job in left if not lies_below_races(job)] or left
        seen.update(now)
        yield from now


def _finding(stamp: Stamp, path: str, results: Path, source: Path | None) -> Finding | None:
    own = _fault(results / path, stamp)
    if own == "":
        return Finding(stamp.job, path, "present")
    other = None if source is None else _fault(source / path, stamp)
    if other == "":
        _copy(source / path, results / path)
        return Finding(stamp.job, path, "adopted")
    fault = other or own
    return None if fault is None else Finding(stamp.job, path, "refused", fault)


def _fault(path: Path, expected: Stamp) -> str | None:
    """Say why an output is not what a job would write; empty where it is, None if it is absent."""
    if not path.exists():
        return None
    found = read_stamp(path)
    if found is None or found.key != expected.key:
        return stale_words(found, expected)
    if path.suffix == ".parquet":
        try:
            check_digest(path)
        except RecordError as error:
            return str(error)
    return ""


def _copy(source: Path, place: Path) -> None:
    """Copy a file or a folder; it appears when it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        with atomic_path(place) as temporary:
            shutil.copyfile(source, temporary)
        sidecar = sidecar_of(source)
        if sidecar is not None:
            shutil.copyfile(sidecar, sidecar_of(place))
        return
    unfinished = place.with_name(f".{place.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    shutil.rmtree(place, ignore_errors=True)
    unfinished.replace(place)


def _copy_benchmark(job: JobId, results: Path, source: Path) -> None:
    """The times of an adopted job belong to its results: table `runtime` is made of them."""
    path = STAGES[job[0]].path(job[1:], BENCHMARK)
    if (source / path).is_file() and not (results / path).exists():
        _copy(source / path, results / path)
