"""Which images a model's features hold alike, before, during and after fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy
import polars
import torch
from torch import nn

from xferpipe.config.report import FeaturesTaken
from xferpipe.config.scores import Probe
from xferpipe.config.study import Shots, Target
from xferpipe.datasets import splits
from xferpipe.training.evaluate import embed
from xferpipe.training.labelled import LabelledImages


def shown_rows(
    manifest: polars.DataFrame, target: Target, shots: Shots, taken: FeaturesTaken, seed: int
) -> splits.LabelledRows:
    """Return the images whose features are compared: probe images of scores, sorted by class.

    Args:
        manifest: Table `manifest` of the target.
        target: The target.
        shots: Images per class, or "full".
        taken: How many images, and how many of a class the study's probe has.
        seed: The study's seed.
    Returns:
        As many images of each class as fit into `taken.images`, two at least; with more classes
        than that leaves room for, the first of them.
    """
    most = taken.probe.images_per_class or taken.images
    classes = len(splits.training_rows(manifest, target, shots, seed).class_names)
    each = min(most, max(2, taken.images // classes))
    rows = splits.probe_rows(manifest, target, shots, Probe(images_per_class=each), seed)
    return rows.take(numpy.argsort(rows.labels, kind="stable")[: taken.images])


class FeatureWatcher:
    """Keeps the features of a few images after some epochs.

    Args:
        images: The images.
        epochs: Epochs, 1-based; 0 is the model that training starts from.
    """

    def __init__(self, images: LabelledImages, epochs: Iterable[int]) -> None:
        self.images, self.epochs = images, frozenset(epochs)
        self.features: dict[int, torch.Tensor] = {}

    def after_epoch(self, epoch: int, model: nn.Module) -> None:
        """Take the features, float32 (n, d), where this epoch is asked for."""
        if epoch in self.epochs:
            self.features[epoch] = self.of(model)

    def of(self, model: nn.Module) -> torch.Tensor:
        """Return a model's features of the images, float32 (n, d)."""
        # clone: what inference mode made could not be written into a checkpoint's state again.
        return embed(model, self.images)[0].clone()

    def state_dict(self) -> dict[str, Any]:
        """Return the features taken so far."""
        return {"features": dict(self.features)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.features = dict(state["features"])


def label_feature_correlation(products: numpy.ndarray, labels: numpy.ndarray) -> float | None:
    """Correlate all entries of a Gram matrix with equality of the labels, by the definition.

    Args:
        products: Inner products of the features, float64 (n, n).
        labels: Labels (n).
    Returns:
        Pearson correlation over all n^2 entries, the diagonal included; None where the matrix is
        not finite, or it or the labels are constant.
    Source:
        Deshpande et al. 2021, arXiv 2102.00084, equation 6 (LFC).
    """
    same = (labels[:, None] == labels[None, :]).astype(numpy.float64)
    centred, kernel = products - products.mean(), same - same.mean()
    size = numpy.linalg.norm(centred) * numpy.linalg.norm(kernel)
    if not numpy.isfinite(size) or size == 0:
        return None
    return float((centred * kernel).sum() / size)


def correlation_table(
    moments: Iterable[tuple[str, int, torch.Tensor]],
    labels: numpy.ndarray,
    class_names: tuple[str, ...],
) -> list[dict[str, Any]]:
    """Return rows of table `feature_correlation`: the upper triangle of each Gram matrix.

    Args:
        moments: Moment (before, during, after), epoch, and features, float (n, d).
        labels: Labels, ascending, int64 (n).
        class_names: Names of the labels.
    Returns:
        One row a pair of images and moment, without the columns that name the run.
    """
    first, second = (place.tolist() for place in numpy.triu_indices(len(labels)))
    names = [class_names[label] for label in labels]
    rows = []
    for moment, epoch, features in moments:
        # In float64, as the scores do: raw features of one sign lose digits when centred.
        wide = features.double().numpy()
        products = wide @ wide.T
        about = {"moment": moment, "epoch": epoch}
        about["lfc"] = label_feature_correlation(products, labels)
        rows += [
            about
            | {"row": i, "column": j, "row_class": names[i], "column_class": names[j]}
            | {"product": float(products[i, j])}
            for i, j in zip(first, second, strict=True)
        ]
    return rows
