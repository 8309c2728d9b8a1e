"""Predictions, their loss and features over whole splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from xferpipe.training.labelled import Batch, Labelled
from xferpipe.training.memory import Pieces
from xferpipe.zoo.feature_pass import features_and_logits

#: Images of one evaluation pass, fewer where memory runs out; no figure depends on it.
BATCH = 256


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model says of the n images of a split, in their order.

    Attributes:
        loss: Mean cross-entropy in nats.
        labels: Labels, int64 (n), on the CPU like the others.
        predicted: Classes of the highest logits, int64 (n).
        probability_label: Softmax probabilities of the labels, float64 (n).
        probability_predicted: Softmax probabilities of the predicted classes, float64 (n).
    """

    loss: float
    labels: torch.Tensor
    predicted: torch.Tensor
    probability_label: torch.Tensor
    probability_predicted: torch.Tensor

    @property
    def accuracy(self) -> float:
        """Share of images whose predicted class is their label."""
        return (self.predicted == self.labels).sum().item() / len(self.labels)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images."""
        images, right, _ = self.counts()
        return (right / images)[images > 0].mean().item()

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have images or are predicted."""
        images, right, predicted = self.counts()
        either = images + predicted
        return (2 * right / either)[either > 0].mean().item()

    @property
    def majority_rate(self) -> float:
        """Share of the images that are of the most frequent class: the accuracy of naming it."""
        return self.counts()[0].max().item() / len(self.labels)

    def order(self, judged_by: str) -> tuple[float, float]:
        """Return what the best epoch has most of: a figure by its name, then less loss."""
        return getattr(self, judged_by), -self.loss

    def counts(self, classes: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Count by class the images, those classified right, and the predictions.

        Args:
            classes: Number of classes; unset: as many as labels and predictions name.
        Returns:
            Three tensors, float64 (c).
        """
        classes = max(classes, *(int(named.max()) + 1 for named in (self.labels, self.predicted)))
        right = self.labels[self.predicted == self.labels]
        images, right, predicted = (
            torch.bincount(named, minlength=classes).double()
            for named in (self.labels, right, self.predicted)
        )
        return images, right, predicted


@dataclass(frozen=True, eq=False)
class Ranking:
    """How a model ranks the n images of a split, each of them a query, in their order.

    Attributes:
        ap: Average precision, float64 (n), on the CPU; NaN without a positive.
    """

    ap: torch.Tensor

    @property
    def map(self) -> float:
        """Mean average precision over the queries with a positive."""
        return self.ap.nanmean().item()

    def order(self, judged_by: str) -> tuple[float, float]:
        """Return what the best epoch has most of: `map`, by whatever name."""
        return self.map, 0.0


#: Judges a model by the images of a split: `evaluate`, or one that ranks them.
Judge = Callable[[nn.Module, Labelled], Evaluation | Ranking]


@torch.inference_mode()
def classified(model: nn.Module, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the logits (b, c) and labels (b) of batches, passed in the modes that layers are in."""
    pieces = Pieces()
    for images, labels in batches:
        yield torch.cat(pieces.map(model, images)), labels


@torch.inference_mode()
def evaluate(model: nn.Module, split: Labelled, batch: int = BATCH) -> Evaluation:
    """Evaluate a model on a split, in evaluation mode and in one pass."""
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.device)
    predicted, probabilities = [], []
    for logits, labels in classified(model, split.evaluation(batch)):
        loss += functional.cross_entropy(logits, labels, reduction="sum").double()
        predicted.append(logits.argmax(1))
        both = torch.stack([labels, predicted[-1]], dim=1)
        probabilities.append(logits.double().softmax(1).gather(1, both))
    of_label, of_predicted = torch.cat(probabilities).cpu().unbind(1)
    return Evaluation(
        loss.item() / len(split), split.labels, torch.cat(predicted).cpu(), of_label, of_predicted
    )


@torch.inference_mode()
def embed(
    model: nn.Module, split: Labelled, batch: int = BATCH
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features, float32 (n, d), and logits, float32 (n, c), of a split, on the CPU."""
    model.eval()
    pieces = Pieces()
    parts = [
        part
        for images, _ in split.evaluation(batch)
        for part in pieces.map(lambda some: features_and_logits(model, some), images)
    ]
    features, logits = zip(*parts, strict=True)
    return torch.cat(features).float().cpu(), torch.cat(logits).float().cpu()
