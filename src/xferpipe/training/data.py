"""Labelled images in batches: normalised on the batch, on the device."""

from __future__ import annotations

from typing import Protocol

import numpy
import torch

from xferpipe.config.jobs import ModelSpec


class Images(Protocol):
    """Images by manifest row; see `datasets.images.open_images`."""

    def batch(self, rows: numpy.ndarray) -> torch.Tensor:
        """Return uint8 (b, 3, h, w) of b rows."""


class LabelledImages:
    """Some rows of a data set with their labels, fed as one model wants them.

    Args:
        images: Images by manifest row.
        rows: Rows, int64 (n).
        labels: Labels, int64 (n).
        spec: Preprocessing of the model.
        device: Where batches are put.
    """

    def __init__(
        self,
        images: Images,
        rows: numpy.ndarray,
        labels: numpy.ndarray,
        spec: ModelSpec,
        device: torch.device,
    ) -> None:
        self.images = images
        self.rows = numpy.asarray(rows)
        self.labels = torch.as_tensor(numpy.asarray(labels), dtype=torch.int64)
        self.device = device
        mean = torch.tensor(spec.mean, device=device)[:, None, None]
        std = torch.tensor(spec.std, device=device)[:, None, None]
        self.scale, self.shift = 1 / (255 * std), -mean / std

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, positions: numpy.ndarray) -> torch.Tensor:
        """Return the images at some positions, uint8 (b, 3, h, w), on the device."""
        return self.images.batch(self.rows[positions]).to(self.device, non_blocking=True)

    def labels_of(self, positions: numpy.ndarray) -> torch.Tensor:
        """Return the labels at some positions, int64 (b), on the device."""
        return self.labels[torch.from_numpy(positions)].to(self.device)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return float (b, 3, h, w) of uint8 pixels: (x / 255 - mean) / std."""
        return pixels.float().mul_(self.scale).add_(self.shift)

    def batch(self, positions: numpy.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalised images, float (b, 3, h, w), and labels, int64 (b)."""
        return self.normalise(self.pixels(positions)), self.labels_of(positions)

    def blocks(self, size: int) -> list[numpy.ndarray]:
        """Return all positions in order, in blocks of at most `size`."""
        order = numpy.arange(len(self))
        return [order[i : i + size] for i in range(0, len(self), size)]
