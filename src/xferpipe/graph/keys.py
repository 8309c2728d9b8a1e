"""Cumulative keys: one hash for each job over all that it and the jobs above it depend on.

A key that holds the keys above it differs for every job below a change, so nothing stale is ever
taken for finished. Every output carries the key of its job (`records/stamp.py`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from xferpipe.config.jobs import Job
from xferpipe.config.scores import ENTRY_POINT_GROUP
from xferpipe.config.study import Study
from xferpipe.datasets.fingerprint import dataset_fingerprint, file_fingerprint
from xferpipe.graph import code as code_module
from xferpipe.graph.code import code_of, plugin_code
from xferpipe.graph.entries import entries_of
from xferpipe.graph.environment import Environment
from xferpipe.graph.graph import JobId, above
from xferpipe.graph.stages import STAGES, job_name, job_of
from xferpipe.records.stamp import Stamp


class Keyed(NamedTuple):
    """A job and what its outputs will carry."""

    job: Job
    stamp: Stamp

    @property
    def key(self) -> str:
        """The cumulative key."""
        return self.stamp.key


class Keys:
    """Keys of every job of one study.

    Args:
        study: The checked study.
        environment: What jobs compute with.
    """

    def __init__(self, study: Study, environment: Environment) -> None:
        self.study = study
        self.environment = environment
        self._cache: dict[JobId, Keyed] = {}

    def __call__(self, stage: str, *wildcards: str) -> Keyed:
        """Return the job that `wildcards` name, with its key."""
        name = (stage, *wildcards)
        if name not in self._cache:
            keys_above = [self(*job).key for job in above(self.study, name)]
            self._cache[name] = self.keyed(name, keys_above)
        return self._cache[name]

    def __len__(self) -> int:
        """Return how many jobs are known: see `known`."""
        return len(self._cache)

    def known(self) -> list[JobId]:
        """Return every job whose key was asked for, and those above it."""
        return list(self._cache)

    def forget(self, names: Collection[JobId]) -> None:
        """Have keys made anew when they are asked for: what the jobs read is another."""
        for name in names:
            self._cache.pop(name, None)

    def keyed(self, name: JobId, keys_above: list[str]) -> Keyed:
        """Make the key of a job from its own parts and the keys of the jobs above it."""
        stage, *wildcards = name
        job = self.job(name)
        slice_, code = job.canonical_json(), self.code(stage, job)
        versions = self.environment.of_stage(stage)
        parts = [stage, slice_, code, self.environment.file, versions, self.content(name)]
        parts += keys_above
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return Keyed(job, Stamp(key, job_name(stage, tuple(wildcards)), slice_, code, versions))

    def job(self, name: JobId) -> Job:
        """Return the slice of a job."""
        return job_of(self.study, *name)

    def code(self, stage: str, job: Job) -> str:
        """Return the hash of the code that computes a job; constant while keys are frozen."""
        return "manual" if self.study.code_key == "manual" else code_of_job(stage, job)

    def content(self, name: JobId) -> str:
        """Return the hash of the user's own files that a job opens; empty where it opens none."""
        stage, *wildcards = name
        files = STAGES[stage].user_files(self.study, *wildcards)
        return " ".join(
            file_fingerprint(file) if isinstance(file, Path) else dataset_fingerprint(file)
            for file in files
        )


def code_of_job(stage: str, job: Job) -> str:
    """Return the hash of the code that computes a job, plug-ins of other distributions included."""
    return _code_of_job(stage, entries_of(job), _scores_of(job))


def has_plugins(job: Job) -> bool:
    """Tell whether a job runs code of other distributions."""
    return plugin_code(_scores_of(job), ENTRY_POINT_GROUP) != ""


def _scores_of(job: Job) -> tuple[str, ...]:
    scores = getattr(job, "scores", None)
    return () if scores is None else scores.methods


@functools.cache
def _code_of_job(stage: str, entries: tuple[str, ...], plugins: tuple[str, ...]) -> str:
    own, other = code_of(stage, entries), plugin_code(plugins, ENTRY_POINT_GROUP)
    return hashlib.sha256(f"{own}\0{other}".encode()).hexdigest()


def forget_code() -> None:
    """Have the code hashed anew from its files."""
    _code_of_job.cache_clear()
    code_module.clear()
