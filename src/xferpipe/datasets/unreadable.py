"""Image files that cannot be decoded: one, or all of a data set in one message."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from xferpipe.datasets.checks import DatasetError

#: Files that a message names; a job's log and table `image_findings` have all.
NAMED = 5
#: Reason of a file that is not there.
MISSING = "missing file"

_logger = logging.getLogger(__name__)


class UnreadableImage(DatasetError):
    """A file that cannot be decoded.

    Attributes:
        path: The file.
        reason: Why not, in words.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {self.problem}; {self.cure}, or take it out")

    @property
    def problem(self) -> str:
        """What is wrong, without the path and the cure."""
        return MISSING if self.reason == MISSING else f"cannot be decoded ({self.reason})"

    @property
    def cure(self) -> str:
        """What to do to have the image."""
        return "restore it" if self.reason == MISSING else "copy it again"


class UnreadableImages(DatasetError):
    """All files of a data set that cannot be decoded; the message names the first.

    Attributes:
        problems: The files, in the order of the data set.
        of: Image files in all.
    """

    def __init__(
        self, problems: Sequence[UnreadableImage], *, of: int, where: str = "", all_in: str = ""
    ) -> None:
        self.problems, self.of, self.where = list(problems), of, where
        start = f"{where}: " if where else ""
        # The cure begins a line: paths are long, and a console folds what follows them.
        if len(problems) == 1:
            (one,) = problems
            text = f"{start}{one.path}: {one.problem}, 1 of {of} image files;\n{one.cure}, take it "
        else:
            lines = [f"  {one.path}: {one.reason}" for one in problems[:NAMED]]
            more = len(problems) - NAMED
            if more > 0:
                lines.append(f"  and {more} more" + (f", listed in {all_in}" if all_in else ""))
            text = f"{start}{len(problems)} of {of} image files cannot be decoded:\n"
            text += "\n".join(lines) + "\ncopy them again or restore them, take them "
        super().__init__(
            text + "out, or set 'unreadable: skip' for the data set (init, run and features: "
            "--skip-unreadable)"
        )


def logged(error: UnreadableImages) -> UnreadableImages:
    """Write every file that cannot be decoded to the log, and return an error that says so."""
    for problem in error.problems:
        _logger.error("%s: %s", problem.path, problem.reason)
    return UnreadableImages(
        error.problems, of=error.of, where=error.where, all_in="the log of this job"
    )
