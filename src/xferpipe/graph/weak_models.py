"""Models of a study whose card says that they learned next to nothing of their source."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.study import Study
from xferpipe.graph.stage import Artifact
from xferpipe.graph.stages import path_of
from xferpipe.graph.stages.parts import entry
from xferpipe.zoo.chance import chance_words, near_chance


def weak_models(study: Study, results: Path) -> list[str]:
    """Say which models learned next to nothing, of those whose cards are there.

    Args:
        study: The study.
        results: Folder of its results.
    """
    from xferpipe.records import RecordError, read_table

    found = []
    for model, about in study.zoo.items():
        if about.source not in study.datasets:
            continue
        card = results / path_of(entry(study, model, "card"))
        manifest = results / path_of(Artifact("manifest", (about.source,), "manifest"))
        try:
            row = read_table("zoo", card).row(0, named=True)
            images = read_table("manifest", manifest).filter(split="test").height
        except RecordError:
            continue
        accuracy, classes = row["source_accuracy"], row["source_classes"]
        if accuracy is not None and images and near_chance(accuracy, images, classes):
            found.append(chance_words(model, accuracy, images, classes))
    return found
