"""Cumulative keys: one hash for each job over all that it and the jobs above it depend on.

A key that holds the keys above it differs for every job below a change, so nothing stale is ever
taken for finished. Every output carries the key of its job (`records/stamp.py`).
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import NamedTuple

from xferpipe.config.jobs import Job
from xferpipe.config.resolve import Jobs, entries_of
from xferpipe.config.scores import ENTRY_POINT_GROUP
from xferpipe.config.study import Study
from xferpipe.datasets.fingerprint import dataset_fingerprint, file_fingerprint
from xferpipe.rebuild import code as code_module
from xferpipe.rebuild.code import code_of
from xferpipe.rebuild.environment import Environment
from xferpipe.rebuild.graph import Graph
from xferpipe.rebuild.layout import job_name
from xferpipe.rebuild.plugins import plugin_code
from xferpipe.records.stamp import Stamp

#: Names a job: its stage, then its wildcards.
JobId = tuple[str, ...]


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
        self.graph = Graph(study)
        self.environment = environment
        self.jobs = Jobs(study)
        self._cache: dict[JobId, Keyed] = {}

    def __call__(self, stage: str, *wildcards: str) -> Keyed:
        """Return the job that `wildcards` name, with its key."""
        name = (stage, *wildcards)
        if name not in self._cache:
            above = [self(*job).key for job in self.graph.above(*name)]
            self._cache[name] = self.keyed(name, above)
        return self._cache[name]

    def __len__(self) -> int:
        """Return how many jobs are known: see `known`."""
        return len(self._cache)

    def known(self) -> list[JobId]:
        """Return every job whose key was asked for, and those above it."""
        return list(self._cache)

    def keyed(self, name: JobId, above: list[str]) -> Keyed:
        """Make the key of a job from its own parts and the keys of the jobs above it."""
        stage, *wildcards = name
        job = self.job(name)
        slice_, code = job.canonical_json(), self.code(job)
        versions = self.environment.of_stage(stage)
        parts = [stage, slice_, code, self.environment.file, versions, self.content(name), *above]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return Keyed(job, Stamp(key, job_name(stage, tuple(wildcards)), slice_, code, versions))

    def job(self, name: JobId) -> Job:
        """Return the slice of a job."""
        stage, *wildcards = name
        return getattr(self.jobs, _SHARED_SLICE.get(stage, stage))(*wildcards)

    def code(self, job: Job) -> str:
        """Return the hash of the code that computes a job; constant while keys are frozen."""
        if self.study.code_key == "manual":
            return "manual"
        return code_of_job(job)

    def content(self, name: JobId) -> str:
        """Return the hash of the user's own files that a job reads; empty where it reads none."""
        stage, *wildcards = name
        read = self.graph.files_of_user(*name)
        if read:
            return " ".join(dataset_fingerprint(self.study.datasets[dataset]) for dataset in read)
        if stage == "load_weights":
            entry = self.study.zoo[wildcards[0]]
            return file_fingerprint(entry.name) if entry.weights == "file" else ""
        if stage == "aggregate":
            own = self.study.selection.own_results
            return "" if own is None else file_fingerprint(own)
        return ""


#: The figures are drawn from what the page is drawn from.
_SHARED_SLICE = {"figures": "report"}


def code_of_job(job: Job) -> str:
    """Return the hash of the code that computes a job, plug-ins of other distributions included."""
    return _code_of_job(job.stage, entries_of(job), _scores_of(job))


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


def matches(pattern: list[str]) -> str:
    """Return a wildcard constraint that allows exactly these values."""
    return "|".join(re.escape(value) for value in pattern) or "(?!)"
