"""Writing a zoo entry that was trained here: weights, card and class means."""

from __future__ import annotations

import logging
from pathlib import Path

import polars
from torch import nn

from xferpipe.datasets import splits
from xferpipe.training.evaluate import embed, evaluate
from xferpipe.training.labelled import LabelledImages
from xferpipe.zoo.card import class_means as means_of
from xferpipe.zoo.card import write_card, write_class_means
from xferpipe.zoo.chance import chance_words, near_chance
from xferpipe.zoo.weights import save_weights

log = logging.getLogger(__name__)


def write_entry(
    model: nn.Module,
    train: LabelledImages,
    test: LabelledImages | None,
    *,
    weights: Path,
    card: Path,
    class_means: Path,
    origin: str,
    model_name: str,
    **about: object,
) -> None:
    """Write what is known of a trained model.

    Args:
        model: The model, merged, on its device.
        train: Training images of its source; their class means are stored.
        test: Test images of its source, or None: re-identification sources have no class accuracy.
        weights: Written: the state dict.
        card: Written: one row of table `zoo`.
        class_means: Written: mean feature and count of each class.
        origin: Column `weights` of the card.
        model_name: Column `model` of the card.
        about: Further columns of the card.
    """
    features, logits = embed(model, train)
    classes = logits.shape[1]
    accuracy = None if test is None else evaluate(model, test).accuracy
    near = None if accuracy is None else near_chance(accuracy, len(test), classes)
    if near:
        log.warning("%s", chance_words(model_name, accuracy, classes))
    save_weights(model, weights)
    write_class_means(class_means, *means_of(features, train.labels, classes))
    write_card(
        card,
        model,
        model=model_name,
        weights=origin,
        source_classes=classes,
        source_images=len(train),
        source_accuracy=accuracy,
        near_chance=near,
        **about,
    )


def test_split(rows: polars.DataFrame) -> splits.LabelledRows | None:
    """Return the test images of a source, or None where it has no test split."""
    part = splits.split_rows(rows, "test") if (rows["split"] == "test").any() else None
    return part if part is not None and len(part) else None
