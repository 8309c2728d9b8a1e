"""Foretell a run: which jobs, why each, and what they will cost by what earlier jobs cost."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xferpipe.graph.rules import Rules
from xferpipe.graph.stages import STAGES
from xferpipe.records.stamp import Stamp

#: A value that one of two slices does not have, which is another thing than null.
_ABSENT = object()


@dataclass(frozen=True)
class PlannedJob:
    """A job that would run."""

    rule: str
    wildcards: dict[str, str]
    reason: str
    outputs: tuple[str, ...]


@dataclass
class PlannedRule:
    """All planned jobs of one rule; costs are None where no earlier job of it is known."""

    rule: str
    jobs: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float | None = None
    disk_bytes: float | None = None


class PlanError(RuntimeError):
    """Snakemake could not plan; the message is Snakemake's own."""


class _Listener(logging.Filter):
    """Takes Snakemake's own records of planned jobs, and keeps the dry run off the terminal.

    A filter, because Snakemake removes every handler when it sets up its logging.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[PlannedJob] = []
        self.errors: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if str(getattr(record, "event", "")) == "job_info":
            self.jobs.append(planned_job(record))
        elif record.levelno >= logging.ERROR:
            self.errors.append(record.getMessage())
        return False


def planned_jobs(arguments: list[str]) -> tuple[list[PlannedJob], Rules]:
    """Ask Snakemake what it would run; nothing is run or written.

    Args:
        arguments: Snakemake's command line, as for the run itself.
    Returns:
        The jobs in the order of Snakemake's dry run, the closing rule `all` left out; the study as
        its rules see it, with the folder of its results relative to where the run works.
    Raises:
        PlanError: The study or the workflow is not valid.
    """
    from snakemake import cli
    from snakemake.logging import logger

    from xferpipe.graph import rules

    rules.forget()
    listener = _Listener()
    logger.addFilter(listener)
    try:
        with contextlib.redirect_stderr(_Discard()), contextlib.redirect_stdout(_Discard()):
            cli.main([*arguments, "--dry-run", "--nolock"])
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        logger.removeFilter(listener)
    latest = rules.latest()
    if code not in (0, None) or latest is None:
        raise PlanError("\n".join(listener.errors) or f"snakemake ended with code {code}")
    jobs = [job for job in listener.jobs if job.rule != "all"]
    reasoned = [replace(job, reason=reason_of(job, latest)) for job in jobs]
    return reasoned, latest


def reason_of(job: PlannedJob, rules: Rules | None) -> str:
    """Say in the study's words why a job runs; of a stale key Snakemake says that it forces.

    Args:
        job: A job with Snakemake's own reason.
        rules: The study's rules; None where Snakemake runs another workflow.
    """
    name = (job.rule, *job.wildcards.values())
    if rules is not None and rules.is_open(name):
        return "the race goes on"
    if rules is not None and name in rules.stale:
        return stale_words(rules.stale[name], rules.keys(*name).stamp)
    return short_reason(job.reason)


def planned_job(record: Any) -> PlannedJob:
    """Return the job of one of Snakemake's records of jobs, with Snakemake's reason."""
    return PlannedJob(
        record.rule_name,
        {name: str(value) for name, value in (record.wildcards or {}).items()},
        record.reason,
        tuple(str(output) for output in record.output or ()),
    )


class _Discard:
    """A text stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is kept, so nothing waits."""

    def isatty(self) -> bool:
        return False


def stale_words(found: Stamp | None, expected: Stamp) -> str:
    """Say what makes a result stale.

    Args:
        found: What the existing output says of itself.
        expected: What it would say if it were made now.
    Returns:
        One line, equal for jobs that run for the same cause.
    """
    if found is None:
        return "its file has no key, or is damaged"
    if found.slice != expected.slice:
        before, now = json.loads(found.slice), json.loads(expected.slice)
        return "changed: " + ", ".join(_differences(before, now))
    if found.code != expected.code:
        return "its code changed"
    if found.versions != expected.versions:
        before, now = json.loads(found.versions), json.loads(expected.versions)
        return "another library: " + ", ".join(_differences(before, now))
    return "what it reads, or the environment, changed"


def short_reason(reason: str) -> str:
    """Say Snakemake's reason in a few words, equal for jobs that run for the same cause."""
    if "Missing output" in reason:
        return "not there yet"
    if "input" in reason.lower():
        return "its input is made anew"
    if "incomplete" in reason.lower():
        return "it was cut short"
    return reason.split(":")[0].strip().lower()


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Name the values that differ between two slices, old and new."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        old, new = ("none" if value is _ABSENT else json.dumps(value) for value in (before, now))
        return [f"{path} {old} -> {new}"]
    names = sorted(before.keys() | now.keys())
    pairs = [(name, before.get(name, _ABSENT), now.get(name, _ABSENT)) for name in names]
    return [
        line
        for name, old, new in pairs
        if old != new
        for line in _differences(old, new, f"{path}.{name}" if path else name)
    ]


def summarise(jobs: list[PlannedJob], results: Path) -> list[PlannedRule]:
    """Count jobs and reasons by rule, and estimate time and disk from earlier jobs of each rule."""
    rules: dict[str, PlannedRule] = {}
    for job in jobs:
        rule = rules.setdefault(job.rule, PlannedRule(job.rule))
        rule.jobs += 1
        rule.reasons[job.reason] += 1
    seconds, sizes = earlier_seconds(results), earlier_bytes(results)
    for name, rule in rules.items():
        if name in seconds:
            rule.seconds = rule.jobs * seconds[name]
        if name in sizes:
            rule.disk_bytes = rule.jobs * sizes[name]
    return list(rules.values())


def earlier_seconds(results: Path) -> dict[str, float]:
    """Return the mean seconds of each rule's earlier jobs, from their benchmark files."""
    found: dict[str, list[float]] = defaultdict(list)
    for path in (results / "benchmarks").rglob("*.tsv"):
        rule = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        with path.open() as file:
            found[rule] += [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
    return {rule: sum(values) / len(values) for rule, values in found.items() if values}


def earlier_bytes(results: Path) -> dict[str, float]:
    """Return the mean bytes that an earlier job of each rule left."""
    means = {}
    for stage, record in STAGES.items():
        patterns = [re.sub(r"{\w+}", "*", record.output(name)) for name in record.files]
        found = [list(results.glob(pattern)) for pattern in patterns]
        if jobs := max(map(len, found)):
            means[stage] = sum(_bytes(path) for paths in found for path in paths) / jobs
    return means


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
