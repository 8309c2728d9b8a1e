"""The state of the package's sources on disk, and of what Python compiled of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

#: What `state_of_sources` says: path, size, inode and time of change of every source.
State = frozenset[tuple[str, int, int, int]]


def state_of_sources(package: Path = PACKAGE) -> State:
    """Return path, size, inode and time of change of every source: equal while none was edited."""
    sources = (package, package.parent.parent / "csrc")
    files = (path for folder in sources for path in folder.rglob("*") if path.suffix != ".pyc")
    states = ((str(path), path.stat()) for path in files if path.is_file())
    return frozenset((name, s.st_size, s.st_ino, s.st_ctime_ns) for name, s in states)


def drop_stale_bytecode(package: Path = PACKAGE) -> None:
    """Delete compiled modules that are older than the last change of their source.

    Python compares dates of modification, which an unpacked archive or a synchronised folder sets
    back; it would then run other code than the source that the key is made of.
    """
    for path in package.rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(str(path)))
        with contextlib.suppress(OSError):
            if path.stat().st_ctime_ns > compiled.stat().st_mtime_ns:
                compiled.unlink()


@functools.cache
def state_at_start() -> State:
    """Return the state of the sources before this process loaded what computes.

    A job that was forked from a warm process has the state from before that one loaded anything.
    """
    return state_of_sources()


def digest(state: State) -> str:
    """Return a short name of a state, for a file."""
    return hashlib.sha256(repr(sorted(state)).encode()).hexdigest()
