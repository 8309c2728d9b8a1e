"""Labelled images in batches, prepared on the device as one model wants them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy
import torch

from xferpipe.config.augmentation import Augmentation
from xferpipe.config.jobs import ModelSpec
from xferpipe.datasets import geometry
from xferpipe.datasets.augmentation import pipeline, preprocess
from xferpipe.datasets.images import Images

Batch = tuple[torch.Tensor, torch.Tensor]


def own_side(spec: ModelSpec, recipe: Augmentation | None) -> int | None:
    """Return the side in pixels that a model itself wants: none where the recipe gives sizes."""
    return None if recipe is not None and recipe.gives_sizes else spec.image_px


class LabelledImages:
    """Some rows of a data set with their labels.

    Args:
        images: Images by manifest row.
        rows: Rows, int64 (n).
        labels: Labels, int64 (n).
        spec: Preprocessing of the model.
        device: Where batches are put.
        recipe: Augmentation of training and sizes of evaluation.
    """

    def __init__(
        self,
        images: Images,
        rows: numpy.ndarray,
        labels: numpy.ndarray,
        spec: ModelSpec,
        device: torch.device,
        recipe: Augmentation | None = None,
    ) -> None:
        self.images, self.spec, self.recipe, self.device = images, spec, recipe, device
        self.rows = numpy.asarray(rows)
        self.labels = torch.as_tensor(numpy.asarray(labels), dtype=torch.int64)
        self.px = own_side(spec, recipe)

    def __len__(self) -> int:
        return len(self.rows)

    def training(
        self, batches: Iterable[numpy.ndarray], *, classes: int, seed: int, first_step: int
    ) -> Iterator[Batch]:
        """Yield augmented batches.

        Args:
            batches: Positions of each step.
            classes: Width of soft labels.
            seed: Seed of the run.
            first_step: Number of the first step since the run began.
        Yields:
            Normalised float (b, 3, h, w); labels int64 (b), or float (b, classes) after mixing.
        """
        augment = pipeline(self.recipe or Augmentation(), self.spec, classes=classes)
        for step, (pixels, labels) in enumerate(self._raw(batches), start=first_step):
            yield augment(pixels, labels, seed=seed, step=step)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """Yield all images in order, normalised float (b, 3, h, w), and labels, int64 (b)."""
        order = numpy.arange(len(self))
        for pixels, labels in self._raw(order[i : i + size] for i in range(0, len(order), size)):
            yield preprocess(pixels, self.spec, self.recipe), labels

    def _raw(self, batches: Iterable[numpy.ndarray]) -> Iterator[Batch]:
        positions = list(batches)
        pixels = self.images.batches(self.rows[chosen] for chosen in positions)
        for chosen, batch in zip(positions, pixels, strict=True):
            labels = self.labels[torch.from_numpy(chosen)]
            if self.device.type == "cuda":
                # Pinned memory lets the copy run beside the computation.
                batch, labels = batch.pin_memory(), labels.pin_memory()
            batch = batch.to(self.device, non_blocking=True)
            if self.px is not None:
                batch = geometry.resized(batch, self.spec.resize_px, self.spec.interpolation)
                batch = geometry.centre_crop(batch, self.px)
            yield batch, labels.to(self.device, non_blocking=True)


class LabelledFeatures:
    """Features that were computed once, in the place of images: the data of a linear probe.

    Args:
        features: float (n, d), on the device.
        labels: Labels, int64 (n), on the CPU.
    """

    def __init__(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        self.features, self.labels, self.device = features, labels, features.device

    def __len__(self) -> int:
        return len(self.features)

    def training(
        self, batches: Iterable[numpy.ndarray], *, classes: int, seed: int, first_step: int
    ) -> Iterator[Batch]:
        """Yield features, float (b, d), and labels, int64 (b), of each step."""
        for positions in batches:
            chosen = torch.from_numpy(positions)
            yield self.features[chosen.to(self.device)], self.labels[chosen].to(self.device)

    def evaluation(self, size: int) -> Iterator[Batch]:
        """Yield all features in order, float (b, d), and labels, int64 (b)."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.features[part], self.labels[part].to(self.device)


Labelled = LabelledImages | LabelledFeatures
