"""Small learnable images in memory, and a model that learns them in a second."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest
import torch

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.recipes import Recipe
from xferpipe.datasets.images import Images
from xferpipe.training.labelled import LabelledImages
from xferpipe.zoo.build import build_model


class Held(Images):
    """Images in memory."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels, self.px = pixels, pixels.shape[-1]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, rows) -> torch.Tensor:
        return self.pixels[torch.as_tensor(numpy.asarray(rows))]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    def make(architecture: str = "cifar_resnet8", **options) -> ModelSpec:
        options = {"width": 16, "mean": (0.5,) * 3, "std": (0.25,) * 3, **options}
        return ModelSpec(architecture=architecture, **options)

    return make


@pytest.fixture
def data(spec) -> Callable[..., LabelledImages]:
    """Return n images of c classes that differ in mean colour, with noise over it."""

    def make(n: int = 40, classes: int = 3, recipe: Recipe | None = None, px: int = 8, seed=0):
        draw = torch.Generator().manual_seed(seed)
        labels = torch.arange(n) % classes
        colour = torch.linspace(40, 200, classes)[labels][:, None, None, None]
        noise = torch.randn(n, 3, px, px, generator=draw) * 30
        pixels = (colour + noise).clamp(0, 255).to(torch.uint8)
        return LabelledImages(
            Held(pixels), numpy.arange(n), labels.numpy(), spec(), torch.device("cpu"), recipe
        )

    return make


@pytest.fixture
def model(spec) -> Callable[..., torch.nn.Module]:
    def make(architecture: str = "cifar_resnet8", outputs: int = 3, **options):
        return build_model(spec(architecture, **options), outputs, seed=1)

    return make
