"""Named random streams: every random draw of a study comes from one of these.

A stream is a name path under a seed. Streams with different names are independent, and drawing
from one never shifts another, so adding a step to one stage leaves all other numbers as they were.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    import torch


def stream(seed: int, *names: str | int) -> int:
    """Derive the seed of a named stream.

    Args:
        seed: The study's or the run's seed.
        names: Path of the stream, e.g. ``("finetune", "shuffle", 3)``.
    Returns:
        An integer in [0, 2**63), the same on every machine and Python version.
    """
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *names: str | int) -> numpy.random.Generator:
    """Return a NumPy generator at the start of the named stream."""
    import numpy

    return numpy.random.default_rng(stream(seed, *names))


def torch_generator(seed: int, *names: str | int, device: str = "cpu") -> torch.Generator:
    """Return a torch generator at the start of the named stream, on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(stream(seed, *names))
