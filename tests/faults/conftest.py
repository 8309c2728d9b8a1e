"""Small file systems that a test may fill up or make read-only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # For `same_tables`, as kill_rounds.py has it.


class SmallDisk:
    """A tmpfs that the test can resize and make read-only."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"cannot mount a small file system here: {done.stderr.strip()}")

    def remount(self, options: str) -> None:
        """Change the size (`size=64m`) or make it read-only (`ro`) or writable (`rw`)."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)

    def unmount(self) -> None:
        """Take it away, whatever still has it open."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], SmallDisk]]:
    """Mount a file system of a given size; it goes with the test."""
    disks = []

    def mount(path: Path, size: str) -> SmallDisk:
        disks.append(SmallDisk(path, size))
        return disks[-1]

    try:
        yield mount
    finally:
        for disk in disks:
            disk.unmount()
