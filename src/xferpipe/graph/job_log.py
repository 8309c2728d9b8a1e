"""The log of a job: how it is written, and what a person is told of it."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TextIO

#: Variable of a run whose console reads the logs; elsewhere a failed job speaks for itself.
CONSOLE = "XFERPIPE_CONSOLE"

_FAILED = "\nfailed: "
_WARNING = re.compile(r"^\S+ \S+ WARNING xferpipe\S*: (.*)$", re.MULTILINE)


def write_to(file: TextIO) -> None:
    """Have everything that is logged in this process written to the log of its job."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=file, level=logging.INFO, format=form, force=True)


def write_failure(stage: str, error: Exception, log: Path, file: TextIO, terminal: TextIO) -> None:
    """End the log of a job that failed, and tell its message where no console will.

    Args:
        stage: The job's stage.
        error: Why it failed; the handled exception.
        log: Path of the log.
        file: The open log.
        terminal: Where a person reads.
    """
    logging.getLogger("xferpipe").exception("%s failed", stage)
    print(f"{_FAILED}{error}", file=file)
    if CONSOLE not in os.environ:
        print(f"{stage}: {error}\n(whole log: {log})", file=terminal)


def warnings_in(log: str) -> list[str]:
    """Return what xferpipe warns of in the log of a job."""
    return _WARNING.findall(_text(log))


def failure_in(log: str) -> str:
    """Return the message of a failed job; an empty text where it could not write one."""
    _, found, message = _text(log).rpartition(_FAILED)
    return message.strip() if found else ""


def _text(log: str) -> str:
    try:
        return Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
