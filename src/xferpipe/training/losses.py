"""Losses of the recipes."""

from __future__ import annotations

import torch
from torch.nn import functional

from xferpipe.config.recipes import Recipe


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0, over: str = "all"
) -> torch.Tensor:
    """Return the mean cross-entropy in nats.

    Args:
        logits: float (n, c).
        labels: Labels, int64 (n), or class probabilities, float (n, c).
        smoothing: Mass eps that is moved off the true class.
        over: `all` gives eps/c to each of the c classes, the true one included; `others` gives
            eps/(c-1) to each of the others.
    """
    if over == "others":
        # eps/(c-1) to the others is eps' = eps c/(c-1) spread over all c.
        classes = logits.shape[1]
        smoothing = smoothing * classes / (classes - 1)
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


def contrastive(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the contrastive loss on Euclidean distances of unit features.

    Args:
        features: float (n, d), scaled to unit length here.
        labels: Identities, int64 (n).
        margin: Distance beyond which two identities add no loss.
    Source:
        Hadsell et al., CVPR 2006, with distances instead of squares.
    """
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import ContrastiveLoss

    loss = ContrastiveLoss(pos_margin=0, neg_margin=margin, distance=LpDistance())
    return loss(features, labels)


def loss_of(
    recipe: Recipe, logits: torch.Tensor, features: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the training loss of one batch, float ().

    Args:
        recipe: Names the loss and its options.
        logits: float (n, c).
        features: Features that metric losses compare, float (n, d).
        labels: int64 (n), or probabilities (n, c) after mixing.
    """
    loss = cross_entropy(logits, labels, recipe.label_smoothing, recipe.label_smoothing_over)
    if recipe.loss == "cross_entropy_triplet":
        return loss + batch_hard_triplet(features, labels, recipe.triplet_margin)
    if recipe.loss == "cross_entropy_contrastive":
        return loss + contrastive(features, labels, recipe.contrastive_margin)
    return loss
