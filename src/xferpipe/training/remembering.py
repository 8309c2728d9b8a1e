"""The k-NN recipe: no training, the training images are remembered by their features."""

from __future__ import annotations

import time

import torch
from torch import nn

from xferpipe.config.study import METRICS
from xferpipe.training.evaluate import Judge, embed
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.loop import Fit
from xferpipe.zoo.build import classifier_of


def remember(
    model: nn.Module, images: LabelledImages, validation: LabelledImages | None, judge: Judge
) -> Fit:
    """Give a nearest-neighbour classifier its training images, in one pass, and judge the model.

    Args:
        model: A model whose classifier is `NearestNeighbours`, on its device; changed in place.
        images: Training images.
        validation: Images that the model is judged by, or None.
        judge: Judges it.
    Returns:
        One epoch without loss and learning rate. Features that are not finite end the run.
    """
    started = time.monotonic()
    features, _ = embed(model, images)
    if not torch.isfinite(features).all():
        return Fit(diverged="a feature of the training images is not finite")
    classifier_of(model).remember(features, images.labels)
    passed = time.monotonic() - started
    found = judge(model, validation) if validation else None
    seconds = time.monotonic() - started
    row = {"epoch": 1, "learning_rate": None, "train_loss": None, "train_accuracy": None}
    row |= {f"validation_{name}": getattr(found, name, None) for name in ("loss", *METRICS)}
    row |= {"distance": 0.0, "distance_without_normalisation": 0.0}
    row |= {"micro_batch_size": None, "seconds": seconds}
    return Fit([row], 1, found, None, seconds, len(images), passed)
