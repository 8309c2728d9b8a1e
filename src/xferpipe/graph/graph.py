"""The jobs of a study: each with what it needs, after the jobs above it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xferpipe.config.study import Study
from xferpipe.graph.stage import BENCHMARK, Artifact, Needs, artifacts
from xferpipe.graph.stages import STAGES

#: Names a job: its stage, then its wildcards.
JobId = tuple[str, ...]


def needs_of(study: Study, job: JobId) -> Needs:
    """Return what a job reads, by the names of its rule's inputs."""
    stage, *wildcards = job
    return STAGES[stage].needs(study, *wildcards)


def above(study: Study, job: JobId) -> list[JobId]:
    """Return the jobs whose outputs a job reads, each once, in order."""
    needed = artifacts(needs_of(study, job))
    return list(
        dict.fromkeys((need.stage, *need.wildcards) for need in needed if need.name != BENCHMARK)
    )


def kept(study: Study) -> list[Artifact]:
    """Return the end results, and the intermediates whose loss must be noticed."""
    return [
        Artifact(stage.name, wildcards, name)
        for stage in STAGES.values()
        for wildcards in (stage.jobs(study) if stage.kept else ())
        for name in stage.kept
    ]


def all_jobs(study: Study) -> Iterator[JobId]:
    """Yield every job of the study once, after those above it."""
    return with_above(study, dict.fromkeys((need.stage, *need.wildcards) for need in kept(study)))


def with_above(study: Study, jobs: Iterable[JobId]) -> Iterator[JobId]:
    """Yield jobs and all that they depend on, each once, after those above it."""
    seen: set[JobId] = set()
    waiting = [(job, False) for job in reversed(list(jobs))]
    while waiting:
        job, above_done = waiting.pop()
        if above_done:
            yield job
        elif job not in seen:
            seen.add(job)
            waiting.append((job, True))
            waiting += [(one, False) for one in reversed(above(study, job))]
