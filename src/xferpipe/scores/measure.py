"""Seconds and peak memory of one score alone."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """What a block of code took."""

    seconds: float = 0.0
    peak_bytes: int | None = None

    def add(self, other: Cost) -> None:
        """Count what ran before as well: its seconds, and its peak where that is higher."""
        self.seconds += other.seconds
        if self.peak_bytes is not None and other.peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes, other.peak_bytes)


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block: wall seconds, and the bytes by which memory rose at its peak.

    The kernel keeps the peak of resident memory, and forgets it on request; where it does not
    (macOS), `peak_bytes` stays null. What the process has freed and still keeps is given back
    first, or the block would take it up again unseen. Pages of files are not counted: in a forked
    process, the code of libraries becomes resident only as it is run.
    """
    cost = Cost()
    before, files = None, 0
    try:
        _give_back_freed_memory()
        _RESET.write_text("5")
        before, files = _resident("VmRSS"), _resident("RssFile")
    except OSError:
        pass
    start = time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - start
    if before is not None:
        loaded = max(0, _resident("RssFile") - files)
        cost.peak_bytes = max(0, _resident("VmHWM") - before - loaded)


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {field}")


def _give_back_freed_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
