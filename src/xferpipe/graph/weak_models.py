"""Models of a study whose card says that they learned next to nothing of their source."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.study import Study
from xferpipe.graph.stages import path_of
from xferpipe.graph.stages.parts import entry
from xferpipe.zoo.chance import chance_words


def weak_models(study: Study, results: Path) -> list[str]:
    """Say which models learned next to nothing, of those whose cards are there.

    Args:
        study: The study.
        results: Folder of its results.
    """
    from xferpipe.records import RecordError, read_table

    found = []
    for model in study.zoo:
        try:
            row = read_table("zoo", results / path_of(entry(study, model, "card"))).row(
                0, named=True
            )
        except RecordError:
            continue
        if row["near_chance"]:
            found.append(chance_words(model, row["source_accuracy"], row["source_classes"]))
    return found
