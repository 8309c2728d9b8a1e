"""Small networks and images that the probes are tested on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xferpipe.minimisers.probe_images import ProbeImages


def small_network(seed: int = 0, *, dropout: float = 0.0) -> nn.Module:
    """Return a convolution network with batch norm whose running statistics are not fresh."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 4),
    )
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(16, 3, 8, 8))
    return network.eval()


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def make_network():
    return small_network


@pytest.fixture
def make_images():
    def make(n: int = 37, *, batch_size: int = 8, px: int = 8, dtype=torch.uint8) -> ProbeImages:
        generator = torch.Generator().manual_seed(n)
        images = torch.randint(0, 256, (n, 3, px, px), generator=generator).to(torch.uint8)
        if dtype != torch.uint8:
            images = images.to(dtype) / 255
        labels = torch.randint(0, 4, (n,), generator=generator)
        return ProbeImages(images, labels, batch_size=batch_size)

    return make
