"""Losses of the recipes."""

from __future__ import annotations

import torch
from torch.nn import functional

from xferpipe.config.recipes import Recipe


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """Return the mean cross-entropy in nats.

    Args:
        logits: float (n, c).
        labels: Labels, int64 (n).
        smoothing: Mass spread evenly over all c classes.
    """
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def batch_hard_triplet(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the batch-hard triplet loss on Euclidean distances.

    Args:
        features: float (n, d).
        labels: Identities, int64 (n).
        margin: How much nearer the farthest positive must be than the nearest negative.
    Source:
        Hermans et al. 2017, arXiv 1703.07737.
    """
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=False)
    triplets = BatchHardMiner(distance=distance)(features, labels)
    loss = TripletMarginLoss(margin=margin, distance=distance, reducer=MeanReducer())
    return loss(features, labels, triplets)


def loss_of(
    recipe: Recipe, logits: torch.Tensor, features: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the training loss of one batch, float ().

    Args:
        recipe: Names the loss and its options.
        logits: float (n, c).
        features: Input of the classifier, float (n, d).
        labels: int64 (n).
    """
    loss = cross_entropy(logits, labels, recipe.label_smoothing)
    if recipe.loss == "cross_entropy_triplet":
        loss = loss + batch_hard_triplet(features, labels, recipe.triplet_margin)
    return loss
