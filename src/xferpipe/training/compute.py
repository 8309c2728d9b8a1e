"""Where and how a job computes: device, threads, determinism, memory."""

from __future__ import annotations

import ctypes
import os
from typing import Literal

import torch


def prepare(device: Literal["auto", "cpu", "cuda"], threads: int) -> torch.device:
    """Choose the device and make what runs on it repeatable.

    Args:
        device: `auto` takes a GPU where there is one.
        threads: Threads that torch computes with; part of the result in the last digits.
    Raises:
        ValueError: `cuda` is asked for and there is none.
    """
    torch.set_num_threads(threads)
    _keep_freed_memory()
    # cuBLAS reads this when its first handle is made; without it some products are not repeatable.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On a GPU a few operations (VGG's pooling backwards) have no repeatable form: torch warns there
    # and goes on, where an error would shut such models out.
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    # Otherwise every new tensor is filled with NaN, to show reads of values that nobody wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: cuda was asked for, but torch sees no GPU; use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def device_name(device: torch.device) -> str:
    """Return `cpu`, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _keep_freed_memory() -> None:
    """Let this process keep what it frees for its next allocation.

    glibc hands large blocks back to the system, so every training step would ask for the same
    thousands of pages again and have them zeroed: 5 to 12 % of its processor time. Gaps between
    blocks raise the peak by up to a tenth.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        mmap_threshold, trim_threshold, largest = -3, -1, 2**31 - 1
        # Releases of glibc differ in the largest threshold that they take; setting either one ends
        # their own adaptation, so the second alone would do harm.
        if set_option(mmap_threshold, largest) or set_option(mmap_threshold, 32 << 20):
            set_option(trim_threshold, largest)
