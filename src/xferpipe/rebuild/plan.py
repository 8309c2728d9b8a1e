"""Foretell a run: which jobs, why each, and what they will cost by what earlier jobs cost."""

from __future__ import annotations

import ast
import contextlib
import csv
import json
import logging
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Folders below `results` where a rule's outputs lie, where the name is not the rule's.
_FOLDERS = {"pretrain": "zoo", "load_weights": "zoo", "aggregate": "tables"}


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
            fields: Any = record
            self.jobs.append(
                PlannedJob(
                    fields.rule_name,
                    {name: str(value) for name, value in (fields.wildcards or {}).items()},
                    fields.reason,
                    tuple(str(output) for output in fields.output or ()),
                )
            )
        elif record.levelno >= logging.ERROR:
            self.errors.append(record.getMessage())
        return False


def planned_jobs(arguments: list[str]) -> list[PlannedJob]:
    """Ask Snakemake what it would run; nothing is run or written.

    Args:
        arguments: Snakemake's command line, as for the run itself.
    Returns:
        The jobs in the order of Snakemake's dry run, the closing rule `all` left out.
    Raises:
        PlanError: The study or the workflow is not valid.
    """
    from snakemake import cli
    from snakemake.logging import logger

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
    if code not in (0, None):
        raise PlanError("\n".join(listener.errors) or f"snakemake ended with code {code}")
    return [job for job in listener.jobs if job.rule != "all"]


class _Discard:
    """A text stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is kept, so nothing waits."""

    def isatty(self) -> bool:
        return False


def short_reason(reason: str) -> str:
    """Say in the study's words why a job runs.

    Args:
        reason: Snakemake's own reason. For changed params it lists the values before and now; a
            rule's params are its slice (JSON), the hash of its code, and its cumulative key.
    Returns:
        One line, equal for jobs that run for the same cause.
    """
    change = re.search(r"before: (.*?) now: (.*)", reason, re.DOTALL)
    if change:
        before, now = (_values(text) for text in change.groups())
        slices = [[value for value in values if value.startswith("{")] for values in (before, now)]
        if all(slices):
            return "changed: " + ", ".join(_differences(*(json.loads(s[0]) for s in slices)))
        if len(now) > 1:
            return "its code changed"
        return "something above it, or its environment, changed"
    if "Missing output" in reason:
        return "not there yet"
    if "input" in reason.lower():
        return "its input is made anew"
    if "incomplete" in reason.lower():
        return "it was cut short"
    return reason.split(":")[0].strip().lower()


def _values(text: str) -> list[str]:
    """Read a list of quoted values as Snakemake prints it."""
    try:
        return [str(value) for value in ast.literal_eval(f"[{text.strip()}]")]
    except (SyntaxError, ValueError):
        return []


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Name the values that differ between two slices, old and new."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted(before.keys() | now.keys())
        return [
            line
            for name in names
            if before.get(name) != now.get(name)
            for line in _differences(
                before.get(name), now.get(name), f"{path}.{name}" if path else name
            )
        ]
    return [f"{path} {json.dumps(before)} -> {json.dumps(now)}"]


def summarise(jobs: list[PlannedJob], results: Path) -> list[PlannedRule]:
    """Count jobs and reasons by rule, and estimate time and disk from earlier jobs of each rule."""
    rules: dict[str, PlannedRule] = {}
    for job in jobs:
        rule = rules.setdefault(job.rule, PlannedRule(job.rule))
        rule.jobs += 1
        rule.reasons[short_reason(job.reason)] += 1
    seconds, sizes = earlier_seconds(results), earlier_bytes(results)
    for name, rule in rules.items():
        if name in seconds:
            rule.seconds = rule.jobs * seconds[name]
        folder = _FOLDERS.get(name, name)
        if folder in sizes:
            rule.disk_bytes = rule.jobs * sizes[folder]
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
    """Return the mean bytes that an earlier job left in each stage's folder."""
    means = {}
    for folder in results.iterdir() if results.is_dir() else ():
        if folder.is_dir():
            files = [path for path in folder.rglob("*") if path.is_file()]
            jobs = len({path.parent for path in files})
            if jobs:
                means[folder.name] = sum(path.stat().st_size for path in files) / jobs
    return means
