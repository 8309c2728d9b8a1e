"""What a job used of the machine, as its own process knows it.

Snakemake measures the process that it started, from outside and every half a second. That is not
the job's where the job was forked from a warm process (`warm.py`): it leaves its own figures then.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path

#: Whether this job's process is another one than Snakemake started for it.
forked = False


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mib() -> float:
    """Return the largest memory of this process, or of one that it has waited for."""
    # Not ru_maxrss of this process: it starts from that of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, others) / 1024


def write_usage(benchmark: Path) -> None:
    """Write the job's figures beside its benchmark file, or take away those of an earlier run."""
    path = benchmark.with_suffix(".json")
    if not forked:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under the names of Snakemake's own columns, which table `runtime` takes these instead of.
    figures = {"cpu_time": round(processor_seconds(), 2), "max_rss": round(peak_mib(), 2)}
    path.write_text(json.dumps(figures))
