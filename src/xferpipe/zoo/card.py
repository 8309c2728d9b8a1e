"""The card of a zoo entry: one row of table `zoo`, and its source's class means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from xferpipe.records import frame, write_table
from xferpipe.records.tensors import save_tensors
from xferpipe.zoo.build import classifier_of, feature_dimension


def write_card(path: Path | str, network: nn.Module, **columns: Any) -> None:
    """Write the card; what can be read off the model is.

    Args:
        path: Parquet file to write.
        network: The zoo entry's model.
        columns: The other columns of table `zoo`; those left out are null.
    """
    head = sum(parameter.numel() for parameter in classifier_of(network).parameters())
    total = sum(parameter.numel() for parameter in network.parameters())
    row = {
        "parameters": total - head,
        "feature_dimension": feature_dimension(network),
        **columns,
    }
    write_table("zoo", frame("zoo", [row]), path)


def class_means(
    features: torch.Tensor, labels: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each class's mean feature and its count.

    Args:
        features: Features, float (n, d).
        labels: Labels in 0..classes-1, int64 (n).
        classes: c.
    Returns:
        Means, float32 (c, d), zero for a class without images; counts, int64 (c).
    """
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros(classes, features.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels, features.double())
    return (sums / counts.clamp(min=1)[:, None]).float(), counts


def write_class_means(path: Path | str, means: torch.Tensor, counts: torch.Tensor) -> None:
    """Write `class_means` (c, d) and `class_counts` (c); c = 0 where there is no source."""
    save_tensors(
        {"class_means": means.float().contiguous(), "class_counts": counts.long().contiguous()},
        {},
        path=path,
    )
