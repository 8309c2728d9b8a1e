"""Setting a process up: the device, and what it does with memory."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from xferpipe.training.compute import prepare

FAULTS = """
import resource, sys, torch
from xferpipe.training.compute import prepare

if sys.argv[1] == "prepared":
    prepare("cpu", 1)
def allocate():
    for _ in range(5):
        torch.ones(10 << 20)
allocate()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
allocate()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """Return the page faults of five tensors of 40 MiB, each freed before the next is made."""
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what other allocators do is theirs")
def test_freed_memory_is_kept_for_the_next_step():
    assert page_faults("prepared") < 100
    # Otherwise this test would say nothing.
    assert page_faults("bare") > 10_000


@pytest.mark.parametrize(
    ("most", "settings"),
    [
        (2**31, [(-3, 2**31 - 1), (-1, 2**31 - 1)]),
        (32 << 20, [(-3, 2**31 - 1), (-3, 32 << 20), (-1, 2**31 - 1)]),
        (0, [(-3, 2**31 - 1), (-3, 32 << 20)]),
    ],
)
def test_largest_threshold_that_glibc_takes_is_set_and_no_trimming_without_it(
    monkeypatch, most, settings
):
    asked = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            asked.append((option, value))
            return int(option == -1 or value <= most)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    prepare("cpu", 1)
    assert asked == settings


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="torch sees no GPU; use auto or cpu"):
        prepare("cuda", 1)
