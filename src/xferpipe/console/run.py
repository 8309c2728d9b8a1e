"""The jobs of one run: which are done, which are running, and how long the rest will take."""

from __future__ import annotations

import csv
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from xferpipe.graph.job_log import warnings_in

#: The closing rule, which does nothing.
CLOSING = "all"


@dataclass
class RunningJob:
    """A job that was started, or handed to a scheduler."""

    rule: str
    words: str
    reason: str
    logs: list[str]
    benchmark: str | None
    outputs: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.began


class Run:
    """Counts the jobs of a run, and keeps what their logs warn of."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        #: Rule -> jobs that are not done.
        self.left: Counter[str] = Counter()
        self.total = 0
        self.done = 0
        self._closing = 0
        self.running: dict[int, RunningJob] = {}
        self.failed: set[int] = set()
        #: Each warning once, in order.
        self.warnings: dict[str, None] = {}
        #: Rule -> mean seconds of its jobs in earlier runs.
        self.earlier: Mapping[str, float] = {}
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Take the number of jobs of each rule."""
        self.left = Counter({rule: count for rule, count in jobs.items() if rule != CLOSING})
        self.total = sum(self.left.values())
        self._closing = jobs.get(CLOSING, 0)

    def grow(self, jobs: int) -> None:
        """Take the number of all jobs, the closing one included: a race's round brings more."""
        self.total = max(self.total, jobs - self._closing)

    def start(self, number: int, job: RunningJob) -> None:
        """Take a job that begins, perhaps once more."""
        self.running[number] = job
        running = sum(other.rule == job.rule for other in self.running.values())
        self.left[job.rule] = max(self.left[job.rule], running)
        self.failed.discard(number)

    def finish(self, number: int) -> tuple[RunningJob, float] | None:
        """Take a finished job; return it and its seconds, or None where nobody saw it begin."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        self.done += 1
        self.left[job.rule] -= 1
        seconds = _benchmarked(job.benchmark, job.seconds)
        self._seconds[job.rule].append(seconds)
        for log in job.logs:
            self.warnings.update(dict.fromkeys(warnings_in(log)))
        return job, seconds

    def fail(self, number: int) -> RunningJob | None:
        """Take a failed job and return it, or None where nobody saw it begin."""
        self.failed.add(number)
        return self.running.pop(number, None)

    @property
    def jobs(self) -> str:
        """The number of jobs in words."""
        return "1 job" if self.total == 1 else f"{self.total} jobs"

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began

    def seconds_left(self) -> float | None:
        """Estimate the time that is left.

        A job takes the mean of its rule's earlier jobs, else of those in this run, else of all jobs
        in this run; as many run at once as did until now. None where nothing is known, and where
        the jobs take longer than was thought.
        """
        known = {rule: sum(times) / len(times) for rule, times in self._seconds.items()}
        known |= self.earlier
        if not known:
            return None
        every = [seconds for times in self._seconds.values() for seconds in times]
        other = sum(every) / len(every) if every else sum(known.values()) / len(known)
        running = list(self.running.values())
        spent = sum(job.seconds for job in running)
        left = sum(count * known.get(rule, other) for rule, count in self.left.items())
        left -= sum(min(job.seconds, known.get(job.rule, other)) for job in running)
        at_once = max(1.0, (sum(every) + spent) / max(self.seconds, 1.0))
        return left / at_once if left > 0 else None


def _benchmarked(path: str | None, otherwise: float) -> float:
    """Return the seconds that Snakemake measured: without the time in a scheduler's queue."""
    try:
        with open(path or "") as file:
            return float(list(csv.DictReader(file, delimiter="\t"))[-1]["s"])
    except (OSError, IndexError, KeyError, ValueError):
        return otherwise
