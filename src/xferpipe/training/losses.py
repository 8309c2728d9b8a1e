"""Losses of the recipes."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from xferpipe.config.recipes import Recipe


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    smoothing: float = 0.0,
    over: str = "all",
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean cross-entropy in nats, float ().

    Args:
        logits: float (n, c).
        labels: Labels, int64 (n), or class probabilities, float (n, c).
        smoothing: Mass eps that is moved off the true class.
        over: `all` gives eps/c to each of the c classes, the true one included; `others` gives
            eps/(c-1) to each of the others.
        weights: Weight of each class, float (c), as torch's `weight`; None: 1 each. The sum is over
            n and not over the weights of the batch's labels, so that an image counts the same
            whatever batch it is in, and parts of a batch add up to it.
    """
    if over == "others":
        # eps/(c-1) to the others is eps' = eps c/(c-1) spread over all c.
        classes = logits.shape[1]
        smoothing = smoothing * classes / (classes - 1)
    if weights is None:
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    total = functional.cross_entropy(
        logits, labels, weight=weights, label_smoothing=smoothing, reduction="sum"
    )
    return total / len(logits)


def balanced_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return weights under which every class with images counts alike in a loss.

    Args:
        labels: Labels of the training images, int64 (n).
        classes: Number of classes, c.
    Returns:
        n / (k n_c) for each of the k classes with n_c images, so that the mean over images is 1; 1
        for a class without any. float32 (c), on the device of `labels`.
    Source:
        King and Zeng, Political Analysis 2001; scikit-learn's `class_weight="balanced"`.
    """
    counts = torch.bincount(labels, minlength=classes).double()
    present = counts > 0
    weights = len(labels) / (present.sum() * counts)
    return torch.where(present, weights, 1.0).float()


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


def circle(
    features: torch.Tensor, labels: torch.Tensor, margin: float, scale: float
) -> torch.Tensor:
    """Return the circle loss on cosine similarities, the mean over the images with both kinds.

    Args:
        features: float (n, d), scaled to unit length here.
        labels: Identities, int64 (n).
        margin: Relaxation: similarities of 1 + margin and of -margin are aimed at.
        scale: Factor of all terms.
    Source:
        Sun et al., CVPR 2020, arXiv 2002.10857, equations 6 and 8.
    """
    from pytorch_metric_learning.losses import CircleLoss

    return CircleLoss(m=margin, gamma=scale)(features, labels)


def arcface(
    features: torch.Tensor,
    labels: torch.Tensor,
    classes: torch.Tensor,
    margin: float,
    scale: float,
) -> torch.Tensor:
    """Return the mean cross-entropy of angles to class vectors, the right one made harder.

    Args:
        features: float (n, d), scaled to unit length here.
        labels: Identities, int64 (n).
        classes: One vector a class, float (c, d), scaled to unit length here: a linear head's rows.
        margin: Angle in radians added to that of the right class. From where the sum would pass pi,
            margin * sin(margin) is taken off the cosine in its place, as in the authors' code.
        scale: Factor of the cosines.
    Source:
        Deng et al., CVPR 2019, arXiv 1801.07698, equation 3.
    """
    cosines = functional.linear(functional.normalize(features), functional.normalize(classes))
    right = cosines.gather(1, labels[:, None])
    # Away from 1, where the root has no gradient.
    sines = (1 - right.square()).clamp(min=1e-12).sqrt()
    harder = right * math.cos(margin) - sines * math.sin(margin)
    passed = right <= math.cos(math.pi - margin)
    harder = torch.where(passed, right - margin * math.sin(margin), harder)
    return functional.cross_entropy(scale * cosines.scatter(1, labels[:, None], harder), labels)


def loss_of(
    recipe: Recipe,
    logits: torch.Tensor,
    features: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None = None,
    classes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the training loss of one batch, float ().

    Args:
        recipe: Names the loss and its options.
        logits: float (n, c).
        features: Features that metric losses compare, float (n, d).
        labels: int64 (n), or probabilities (n, c) after mixing.
        weights: Weight of each class in the cross-entropy, float (c); None: 1 each.
        classes: Rows of the linear head, float (c, d), which `arcface` compares features with.
    """
    if recipe.loss == "triplet":
        return batch_hard_triplet(features, labels, recipe.triplet_margin)
    if recipe.loss == "circle":
        return circle(features, labels, recipe.circle_margin, recipe.circle_scale)
    if recipe.loss == "arcface":
        return arcface(features, labels, classes, recipe.arcface_margin, recipe.arcface_scale)
    smoothing = recipe.label_smoothing, recipe.label_smoothing_over
    loss = cross_entropy(logits, labels, *smoothing, weights)
    if recipe.loss == "cross_entropy_triplet":
        return loss + batch_hard_triplet(features, labels, recipe.triplet_margin)
    if recipe.loss == "cross_entropy_contrastive":
        return loss + contrastive(features, labels, recipe.contrastive_margin)
    return loss
