"""A classifier without weights: the nearest training images vote."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: Probability of a class that no neighbour is of, so that its logarithm is finite.
_LEAST = 1e-6


class NearestNeighbours(nn.Module):
    """Weighted vote of the nearest training images, by the cosine of their features.

    The k nearest images of similarities s have the weights softmax(s / temperature), which add up
    to a probability for each class.

    Args:
        in_features: Width d of the features.
        out_features: Classes c.
        neighbours: k; all images where there are fewer.
        temperature: Scale of the similarities.
        images: Training images n that there is room for.
    Source:
        Wu et al., CVPR 2018; DINO, arXiv 2104.14294; DINOv2, arXiv 2304.07193.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        neighbours: int,
        temperature: float,
        images: int = 0,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.neighbours, self.temperature = neighbours, temperature
        self.register_buffer("class_images", torch.zeros(out_features, dtype=torch.int64))
        self.make_room(images)

    def make_room(self, images: int) -> None:
        """Hold so many training images, to be loaded."""
        device = self.class_images.device
        self.register_buffer("features", torch.zeros(images, self.in_features, device=device))
        labels = torch.zeros(images, dtype=torch.int64, device=device)
        self.register_buffer("labels", labels)

    def remember(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Take the training images.

        Args:
            features: float (n, d); stored with length 1.
            labels: int64 (n), in 0..c-1.
        """
        device = self.class_images.device
        self.features = functional.normalize(features.float()).to(device)
        self.labels = labels.to(device)
        self.class_images = torch.bincount(self.labels, minlength=self.out_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logarithms of probabilities, float (b, c), of features (b, d)."""
        nearest = min(self.neighbours, len(self.features))
        if not nearest:
            return features.new_zeros(features.shape[0], self.out_features)
        similar = functional.normalize(features.flatten(1).float()) @ self.features.T
        values, which = similar.topk(nearest, dim=1)
        weights = (values / self.temperature).softmax(1)
        # By `shape`: `len` would fix the batch size of an ONNX export.
        votes = weights.new_zeros(weights.shape[0], self.out_features)
        votes = votes.scatter_add(1, self.labels[which], weights)
        return votes.clamp(min=_LEAST).log()
