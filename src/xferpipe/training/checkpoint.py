"""Checkpoints: everything a killed run needs to go on with the same bits."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from xferpipe.config.base import Block
from xferpipe.records import atomic_path
from xferpipe.records.ownership import check_ownership
from xferpipe.records.stamp import stamp_of_job

log = logging.getLogger(__name__)

INTERVAL_VARIABLE = "XFERPIPE_CHECKPOINT_SECONDS"
INTERVAL_SECONDS = 300.0


def identity_of(job: Block) -> str:
    """Return what a checkpoint of a job is known by.

    In the workflow that is the job's key: a checkpoint of another slice, of other code or of other
    weights to start from must not be gone on with. Elsewhere it is the hash of the slice.
    """
    stamp = stamp_of_job()
    if stamp is not None:
        return stamp.key
    return hashlib.sha256(f"{type(job).__name__} {job.canonical_json()}".encode()).hexdigest()


class Checkpoint:
    """A file that is written at intervals and removed at the end.

    Random numbers come from streams named by seed, purpose, epoch and step, so the position in
    training is the state of all of them, the sampler's included.

    Args:
        path: The file.
        identity: Of the job; a checkpoint with another one is left aside.
        interval_seconds: Least time between two writes; unset: XFERPIPE_CHECKPOINT_SECONDS, else
            300. 0 writes at every step.
    """

    def __init__(self, path: Path, identity: str, interval_seconds: float | None = None) -> None:
        if interval_seconds is None:
            interval_seconds = float(os.environ.get(INTERVAL_VARIABLE, INTERVAL_SECONDS))
        self.path = Path(path)
        self.identity = identity
        self.interval_seconds = interval_seconds
        self._written = time.monotonic()

    def due(self) -> bool:
        """Say whether the interval has passed."""
        return time.monotonic() - self._written >= self.interval_seconds

    def write(self, state: dict[str, Any]) -> None:
        """Write the state: tensors, numbers, texts, lists and dictionaries of these.

        Raises:
            SupersededError: A later run has taken over the job; to go on is of no use.
        """
        check_ownership()
        with atomic_path(self.path) as temporary:
            torch.save({"identity": self.identity, "state": state}, temporary)
        self._written = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """Return the state of this job's interrupted run, or None to start afresh."""
        for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.partial"):
            left.unlink(missing_ok=True)  # Of a process that was killed while it wrote.
        if not self.path.exists():
            return None
        try:
            # torch.load reads past flipped bytes: it does not look at the checksums it wrote.
            with zipfile.ZipFile(self.path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"{damaged} fails its checksum")
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            identity, state = content["identity"], content["state"]
        except Exception as error:  # torch raises half a dozen types for files it cannot read
            log.warning(
                "%s cannot be read (%s: %s); starting afresh",
                self.path,
                type(error).__name__,
                str(error).splitlines()[0] if str(error) else "no reason given",
            )
            return None
        if identity != self.identity:
            log.warning("%s is of other values, code or inputs; starting afresh", self.path)
            return None
        log.info("%s: resuming from it", self.path)
        return state

    def remove(self) -> None:
        """Delete the file: the run is finished. One that was taken over has none to delete."""
        check_ownership()
        self.path.unlink(missing_ok=True)
