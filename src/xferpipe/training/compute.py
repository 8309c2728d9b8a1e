"""Where and how a job computes: device, threads, determinism."""

from __future__ import annotations

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
    # cuBLAS reads this when its first handle is made; without it some products are not repeatable.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On a GPU a few operations (VGG's pooling backwards) have no repeatable form: torch warns there
    # and goes on, where an error would shut such models out.
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    torch.backends.cudnn.benchmark = False
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: cuda was asked for, but torch sees no GPU; use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def device_name(device: torch.device) -> str:
    """Return `cpu`, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
