"""What each job does, in the words of the study."""

from __future__ import annotations

import shlex
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path


def job_words(rule: str, wildcards: Mapping[str, str]) -> str:
    """Say what a job does.

    Args:
        rule: Its rule; one of another workflow, which may have our rules under other names, is
            told by its name.
        wildcards: Its wildcards by name.
    """
    # Late: the command line shows its help without the types of a study.
    from xferpipe.graph.stages import STAGES

    words = dict(wildcards)
    if "shots" in words:
        words["shots"] = shots_words(words["shots"])
    try:
        return STAGES[rule].does.format_map(words)
    except KeyError:
        return " ".join([rule, *map(str, wildcards.values())])


def shots_words(shots: str) -> str:
    """Say how many training images there are: `all images`, or `5 a class`."""
    return "all images" if shots == "full" else f"{shots} a class"


def job_line(rule: str, wildcards: Mapping[str, str], reason: str) -> str:
    """Say what a job does and why it runs, in one line: the same in a plan and in a run."""
    return f"{job_words(rule, wildcards)}   ({reason})"


def duration(seconds: float) -> str:
    """Write a time for a person: `12 s`, `5 min`, `2.5 h`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


def shortened(line: str, longest: int = 160) -> str:
    """Cut a line that is longer than a person reads."""
    return line if len(line) <= longest else line[: longest - 1] + "…"


def program(name: str) -> str:
    """Write a command of this installation as a shell finds it: whole where PATH lacks it."""
    own = Path(sysconfig.get_path("scripts")) / name
    return name if shutil.which(name) or not own.exists() else shlex.quote(str(own))
