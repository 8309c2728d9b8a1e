"""Loss, accuracy and features over whole splits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from xferpipe.training.labelled import Batch, Labelled
from xferpipe.training.memory import Pieces
from xferpipe.zoo.feature_pass import features_and_logits

#: Images of one evaluation pass, fewer where memory runs out; no figure depends on it.
BATCH = 256


class Evaluation(NamedTuple):
    """Mean cross-entropy in nats and accuracy as a fraction."""

    loss: float
    accuracy: float


@torch.inference_mode()
def classified(model: nn.Module, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the logits (b, c) and labels (b) of batches, passed in the modes that layers are in."""
    pieces = Pieces()
    for images, labels in batches:
        yield torch.cat(pieces.map(model, images)), labels


@torch.inference_mode()
def evaluate(model: nn.Module, split: Labelled, batch: int = BATCH) -> Evaluation:
    """Evaluate a model on a split, in evaluation mode."""
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.device)
    right = torch.zeros((), dtype=torch.int64, device=split.device)
    for logits, labels in classified(model, split.evaluation(batch)):
        loss += functional.cross_entropy(logits, labels, reduction="sum").double()
        right += (logits.argmax(1) == labels).sum()
    return Evaluation(loss.item() / len(split), right.item() / len(split))


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
