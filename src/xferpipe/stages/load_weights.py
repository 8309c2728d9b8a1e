"""The load_weights stage: bring a zoo entry's weights from where they lie, or draw them."""

from __future__ import annotations

from pathlib import Path

import torch

from xferpipe.config.jobs import LoadWeightsJob
from xferpipe.zoo.build import build_model, feature_dimension
from xferpipe.zoo.card import write_card, write_class_means
from xferpipe.zoo.origins import load
from xferpipe.zoo.weights import save_weights


def load_weights(job: LoadWeightsJob, *, weights: Path, card: Path, class_means: Path) -> None:
    """Write a zoo entry whose weights this workflow does not train.

    Args:
        job: The resolved slice.
        weights: Written: weights; with random weights there is no class, so an empty classifier.
        card: Written: one row of table `zoo`.
        class_means: Written: empty, since the source's images are not at hand.
    Raises:
        WeightsError: The weights are missing or do not fit; the message says what to put where.
    """
    about: dict[str, object] = {}
    if job.weights == "random":
        model = build_model(job.spec, 0, seed=job.seed)
    else:
        model, about = load(job, job.spec)
    if job.source_accuracy is not None:
        about = about | {"source_accuracy": job.source_accuracy}
    save_weights(model, weights)
    empty = torch.zeros(0, feature_dimension(model)), torch.zeros(0, dtype=torch.int64)
    write_class_means(class_means, *empty)
    write_card(
        card,
        model,
        model=job.model,
        architecture=job.spec.architecture,
        weights=job.weights,
        **about,
    )
