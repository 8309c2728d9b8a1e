"""The order of the page: one section per question, each with its figures and tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars

from xferpipe.report.charts import (
    classes,
    correlation,
    minimisers,
    recipes,
    retrieval,
    runs,
    scores,
    targets,
)
from xferpipe.report.drawing import Figure
from xferpipe.report.evidence import Evidence


@dataclass(frozen=True)
class Section:
    """One question, the words under it, the figures drawn for it, and the tables shown whole."""

    name: str
    title: str
    lead: str
    figures: Callable[[Evidence], list[Figure]]
    tables: tuple[str, ...] = ()


SECTIONS = (
    Section(
        "targets",
        "What to fine-tune",
        "Models are compared by their fine-tunes. A choice reads the validation split where there "
        "is one; the figures shown are of the test split, as fractions.",
        lambda evidence: [*targets.figures(evidence), *classes.figures(evidence)],
        ("answers", "targets", "finetunes"),
    ),
    Section(
        "scores",
        "How the scores rank",
        "A score sees a few labelled training images and no fine-tune. It is worth having where "
        "the order it gives is the order that fine-tuning then shows. The best of many looks "
        "better than it is: table best_scores sets it beside chance, and beside what the other "
        "targets would have chosen.",
        scores.figures,
        ("best_scores", "selection", "scores"),
    ),
    Section(
        "recipes",
        "Which recipe",
        "The same models under each fine-tuning recipe of the study.",
        recipes.figures,
    ),
    Section(
        "retrieval",
        "Re-identification",
        "A fine-tuned model embeds query and gallery images; each query ranks the gallery.",
        retrieval.figures,
        ("retrieval", "retrieval_queries", "camera_pairs"),
    ),
    Section(
        "minimisers",
        "Minimisers",
        "How the pretrained solutions bear noise, masks, adversarial steps and moved weights, and "
        "what lies between them.",
        minimisers.figures,
    ),
    Section(
        "features",
        "What fine-tuning does to features",
        "A score reads the features that a model has before fine-tuning. Here is what becomes of "
        "them.",
        correlation.figures,
    ),
    Section(
        "runs",
        "What ran",
        "Every job's time and every model's origin.",
        runs.figures,
        ("zoo", "runtime"),
    ),
)


def tables_of(section: Section, evidence: Evidence) -> list[tuple[str, polars.DataFrame]]:
    """Return the tables that a section shows whole; empty ones are left out."""
    return [(name, evidence[name]) for name in section.tables if not evidence[name].is_empty()]
