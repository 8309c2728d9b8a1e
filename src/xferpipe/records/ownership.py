"""Who may put a job's outputs into place: the process that started the job last.

A Snakemake that was killed leaves its jobs running. When the job is started again, the new process
takes it over, and the old one finds that out before it renames its outputs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

#: Tells the processes of a job (torchrun's too) who they run for.
_VARIABLE = "XFERPIPE_OWNER"
#: What a file system answers that has no locks; the token alone then has to do.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class SupersededError(RuntimeError):
    """Another process has taken this job over, so this one must not store anything."""


class Ownership:
    """This process's hold on one job, and that of the processes it starts.

    Args:
        place: File of the job; it exists while the job runs.
        token: Names the holder; unset: a new one.
    """

    def __init__(self, place: Path, token: str | None = None) -> None:
        self._place = place
        self._token = token or uuid.uuid4().hex

    def take(self) -> None:
        """Become the owner, whoever was it before."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        handle = self._lock(os.O_RDWR | os.O_CREAT)
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, self._token.encode(), 0)
        finally:
            os.close(handle)
        os.environ[_VARIABLE] = f"{self._token}:{self._place.absolute()}"

    def check(self) -> None:
        """Refuse to go on where another process has taken the job over.

        Raises:
            SupersededError: So it is.
        """
        with contextlib.suppress(FileNotFoundError):
            if self._place.read_text() == self._token:
                return
        raise self._superseded()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody else from taking the job over; with the block, the job is over.

        Raises:
            SupersededError: Another process has taken it over before.
        """
        try:
            handle = self._lock(os.O_RDWR)
        except FileNotFoundError:
            raise self._superseded() from None
        try:
            if os.pread(handle, 64, 0).decode() != self._token:
                raise self._superseded()
            yield
            self._place.unlink()
        finally:
            os.close(handle)

    def _superseded(self) -> SupersededError:
        return SupersededError(
            "this job was started again by a later run, or finished by it; this process stores "
            "nothing"
        )

    def _lock(self, flags: int) -> int:
        """Open and lock the file; one that its last holder removed meanwhile is opened anew."""
        while True:
            handle = os.open(self._place, flags, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(handle)
                    raise
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self._place).st_ino == os.fstat(handle).st_ino:
                    return handle
            os.close(handle)


def check_ownership() -> None:
    """Refuse to go on where another process has taken over the job that this process runs.

    Raises:
        SupersededError: So it is. Outside of the workflow it never is.
    """
    text = os.environ.get(_VARIABLE)
    if text:
        token, _, place = text.partition(":")
        Ownership(Path(place), token).check()
