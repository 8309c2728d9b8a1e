"""Labelled images of a probe, read once and held in memory, and what a classifier makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xferpipe.training.evaluate import classified
from xferpipe.zoo.normalisation import own_modes


class ProbeImages:
    """Images that every probe of a job shares: read once, given out in batches of pixels."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Hold the images.

        Args:
            images: uint8 (n, channels, h, w), or floating point pixels in [0, 1].
            labels: int64 (n).
            batch_size: Images of one pass; fewer where memory runs out.
            device: Where batches are given out.
        Raises:
            ValueError: The two differ in length, or there is no image.
        """
        if len(images) != len(labels):
            raise ValueError(
                f"images has {len(images)} rows but labels has {len(labels)}: "
                "take both by the same rows of one manifest"
            )
        if len(images) == 0:
            raise ValueError("no images to probe; the split is empty: choose another split")
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pixels in [0, 1] (b, channels, h, w) and labels (b), in order."""
        # Equal parts: a last batch of one image has no batch-norm statistics.
        parts = math.ceil(len(self.images) / self.batch_size)
        for images, labels in zip(
            self.images.tensor_split(parts), self.labels.tensor_split(parts), strict=True
        ):
            yield self.pixels(images), labels.to(self.device)

    def pixels(self, images: Tensor) -> Tensor:
        """Scale stored images to pixels in [0, 1] on the device."""
        images = images.to(self.device)
        return images.float().div_(255) if images.dtype == torch.uint8 else images

    def in_batches_of(self, batch_size: int) -> ProbeImages:
        """Return the same images, shared, in batches of another size."""
        return ProbeImages(self.images, self.labels, batch_size=batch_size, device=self.device)


class Outcomes(NamedTuple):
    """What became of each image: `correct` bool (n) and `loss` float64 (n), in nats."""

    correct: Tensor
    loss: Tensor

    @property
    def accuracy(self) -> float:
        """Return the fraction of images classified rightly."""
        return self.correct.double().mean().item()

    @property
    def mean_loss(self) -> float:
        """Return the mean cross-entropy, in nats."""
        return self.loss.mean().item()


def outcomes_of(logits: Tensor, labels: Tensor) -> Outcomes:
    """Compare logits (n, c) with labels (n), image by image, so that batches do not matter."""
    loss = functional.cross_entropy(logits, labels, reduction="none")
    return Outcomes(logits.argmax(1) == labels, loss.double())


@torch.inference_mode()
def evaluate(classifier: nn.Module, images: ProbeImages) -> Outcomes:
    """Classify every image in evaluation mode.

    Args:
        classifier: Maps pixels (b, channels, h, w) in [0, 1] to logits (b, c).
        images: The images.
    Returns:
        Outcomes (n) on the CPU, in the order of the images.
    """
    with own_modes(classifier):
        classifier.eval()
        parts = [outcomes_of(*batch) for batch in classified(classifier, images)]
    return Outcomes(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def error_and_loss(classifier: nn.Module, images: ProbeImages) -> dict[str, float]:
    """Return the error (fraction) and the mean cross-entropy (nats) on the images."""
    outcomes = evaluate(classifier, images)
    return {"error": (~outcomes.correct).double().mean().item(), "loss": outcomes.mean_loss}


def figures_of(splits: Mapping[str, ProbeImages]) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function that measures a classifier on every split: "test error", "test loss"..."""

    def measure(classifier: nn.Module) -> dict[str, float]:
        return {
            f"{split} {name}": value
            for split, images in splits.items()
            for name, value in error_and_loss(classifier, images).items()
        }

    return measure


class PixelClassifier(nn.Module):
    """A model preceded by its own normalisation, so that every model takes pixels in [0, 1]."""

    def __init__(
        self,
        model: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.model = model
        # Constants of the preprocessing are no part of the solution: kept out of its state.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (n, c) of pixels (n, 3, h, w)."""
        return self.model((pixels - self.mean) / self.std)
