"""Moving small random draws to where the images are."""

from __future__ import annotations

import torch


def onto(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy CPU values to a device; on a GPU without waiting for what it still computes.

    A plain copy would stop this thread until the GPU is idle, once for every draw of every step.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
