"""How much memory a score may take, asked before it takes it: a killed process says nothing."""

from __future__ import annotations

import resource
from pathlib import Path

from xferpipe.scores.inputs import Undefined

_CGROUP = Path("/sys/fs/cgroup")


def require_memory(needed: int, what: str) -> None:
    """Stop a score whose matrices do not fit.

    Args:
        needed: Bytes.
        what: What takes them, for the message.
    Raises:
        Undefined: That much is not free; says how much is needed and how much there is.
    """
    free = available()
    if free is not None and needed > free:
        raise Undefined(
            f"{what} needs {needed / 1e9:.3g} GB of memory, {free / 1e9:.3g} GB are free; give "
            "fewer images"
        )


def available() -> int | None:
    """Return the bytes that this process may still take; None where nothing tells.

    The least of what the machine has free, what the control group leaves, and what the limit of
    the address space leaves.
    """
    found = [_free(), _of_group(), _of_address_space()]
    return min((value for value in found if value is not None), default=None)


def _free() -> int | None:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable:")


def _of_group() -> int | None:
    try:
        most, used = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        return max(0, int(most) - int(used))
    except (OSError, ValueError):  # no second version of control groups, or no limit: `max`
        return None


def _of_address_space() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _kilobytes(Path("/proc/self/status"), "VmSize:")
    return None if limit == resource.RLIM_INFINITY or used is None else max(0, limit - used)


def _kilobytes(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)
