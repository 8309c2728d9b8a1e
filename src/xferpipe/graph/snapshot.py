"""A run's plan on disk: the study, and the key of every job, as they were when the run began.

The main process writes it; jobs, wherever and whenever they start, read it and not the study's
file, which may have been edited since. Runs with equal plans share one file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from xferpipe.config.jobs import Job
from xferpipe.config.race import Decided, Run
from xferpipe.config.study import Study
from xferpipe.graph.code import modules_of
from xferpipe.graph.entries import entries_of
from xferpipe.graph.environment import Environment
from xferpipe.graph.graph import JobId
from xferpipe.graph.keys import Keyed, Keys, forget_code, has_plugins
from xferpipe.graph.sources import digest, state_at_start, state_of_sources
from xferpipe.graph.stages import job_name
from xferpipe.records import atomic_path
from xferpipe.records.stamp import Stamp

#: Folder below a study's results of what the workflow itself keeps there.
OWN = ".xferpipe"
#: Tells a job's process where its plan is.
VARIABLE = "XFERPIPE_PLAN"
#: Plans that are kept: jobs of earlier runs may still wait in a queue.
_KEPT = 20


class PlanGoneError(RuntimeError):
    """The plan that a job belongs to cannot be read."""


def write_snapshot(
    keys: Keys, jobs: list[JobId], results: Path, own: Collection[Path] = ()
) -> Path:
    """Write the plan of a run and make it the current one of its results.

    Args:
        keys: Keys of the study.
        jobs: Every job that the run looks at.
        results: Folder of the study's results.
        own: Plans that the run wrote before: its jobs may still wait with one.
    Returns:
        The file, absolute: jobs may run in another folder.
    """
    codes: dict[tuple[str, str, tuple[str, ...]], int] = {}
    listed = {}
    for name in jobs:
        job, stamp = keys(*name)
        code = (stamp.code, name[0], entries_of(job))
        listed[stamp.job] = [stamp.key, codes.setdefault(code, len(codes))]
    whole = keys.study.whole
    content = {
        "study": keys.study.model_dump(mode="json"),
        "whole": whole and whole.model_dump(mode="json"),
        "races": [[*place, *keys.study.decided(*place)] for place in keys.study.races()],
        "environment": asdict(keys.environment),
        "sources": _sources(),
        "codes": [[*code, modules_of(*code[1:])] for code in codes],
        "jobs": listed,
    }
    # Not sorted: the rows of the tables follow the order of the study.
    text = json.dumps(content)
    name = hashlib.sha256(text.encode()).hexdigest()[:20]
    folder = (results / OWN / "plans").absolute()
    path = folder / f"{name}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(text)
    with atomic_path(results / OWN / "plan") as temporary:
        temporary.write_text(name)
    _forget_old(folder, own)
    return path


def _sources() -> str | None:
    """Name the state of the sources that was hashed; None where one was edited meanwhile."""
    state = state_at_start()
    return digest(state) if state_of_sources() == state else None


def _forget_old(folder: Path, own: Collection[Path]) -> None:
    plans = [plan for plan in folder.glob("*.json") if plan not in own]
    plans.sort(key=lambda plan: plan.stat().st_mtime, reverse=True)
    for plan in plans[_KEPT:]:
        plan.unlink(missing_ok=True)


class PlannedKeys(Keys):
    """Keys as a run planned them, whatever the study's file and the code say since.

    Args:
        path: What `write_snapshot` returned.
    Raises:
        PlanGoneError: There is no such plan any more.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            raise PlanGoneError(
                f"the plan that this job belongs to is gone ({path}): a later run replaced it; run "
                "snakemake again"
            ) from None
        study = Study.model_validate_json(json.dumps(content["study"]))
        if content["whole"] is not None:
            study._whole = Study.model_validate_json(json.dumps(content["whole"]))
        for target, shots, rounds, stopped in content["races"]:
            asked = tuple(tuple(Run(*run) for run in runs) for runs in rounds)
            study.follow(target, shots, Decided(asked, stopped))
        super().__init__(study, Environment(**content["environment"]))
        self._path = path
        self._codes: list[str] = [code for code, *_ in content["codes"]]
        #: Code and modules of a stage and entries: where no source was edited since the plan.
        self._hashed: dict[tuple[str, tuple[str, ...]], tuple[str, list[str]]] = {}
        if content["sources"] == digest(state_at_start()):
            self._hashed = {
                (stage, tuple(entries)): (code, modules)
                for code, stage, entries, modules in content["codes"]
            }
        self._planned: dict[str, tuple[str, int]] = content["jobs"]

    def __call__(self, stage: str, *wildcards: str) -> Keyed:
        """Return the job that `wildcards` name, with the key that it was planned with."""
        name = job_name(stage, wildcards)
        if name not in self._planned:
            raise PlanGoneError(f"{name} is not in the plan {self._path}; run snakemake again")
        key, code = self._planned[name]
        job = self.job((stage, *wildcards))
        slice_, versions = job.canonical_json(), self.environment.of_stage(stage)
        return Keyed(job, Stamp(key, name, slice_, self._codes[code], versions))

    def code(self, stage: str, job: Job) -> str:
        """Return the hash of a job's code as it is: the planned one while no source was edited."""
        known = self._hashed.get((stage, entries_of(job)))
        return super().code(stage, job) if known is None or has_plugins(job) else known[0]

    def modules(self, stage: str, job: Job) -> Collection[str]:
        """Return the modules that a job's key covers whole."""
        part = (stage, entries_of(job))
        return self._hashed[part][1] if part in self._hashed else modules_of(*part)

    def hash_anew(self) -> None:
        """Have code hashed from its files as they are now."""
        self._hashed = {}
        forget_code()

    def check_current(self, name: str) -> None:
        """Refuse a job that a later run of the same results has planned otherwise.

        Args:
            name: Name of the job.
        Raises:
            PlanGoneError: So it is; the job must not overwrite what that run makes.
        """
        own, later = self._planned[name][0], self._later_key(name)
        if later not in (None, own):
            raise PlanGoneError(
                f"{name} was planned with key {own[:12]}, and a later run of this study planned it "
                f"with {later[:12]}: this job is of no use any more and stores nothing"
            )

    def _later_key(self, name: str) -> str | None:
        """Return the key that the current plan of the results has for a job, where it has one."""
        plans = self._path.parent
        try:
            current = plans / f"{(plans.parent / 'plan').read_text()}.json"
            if current.name == self._path.name:
                return None
            return json.loads(current.read_text())["jobs"].get(name, [None])[0]
        except (OSError, ValueError):
            return None


def planned_keys() -> PlannedKeys:
    """Return the keys of the run that this job's process belongs to.

    Raises:
        PlanGoneError: The process was started without a plan, or it is gone.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        raise PlanGoneError(
            "this job was started without a plan: run it through snakemake, not by its script"
        )
    return PlannedKeys(Path(path))
