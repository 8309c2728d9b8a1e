"""The order of the evidence: one section per question, each with its figures; whole tables."""

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
    """One question of the evidence, the words under it, and the figures drawn for it."""

    name: str
    short: str
    title: str
    lead: str
    figures: Callable[[Evidence], list[Figure]]


#: Figures that the page has in another form: the leaderboard, the confusion matrix, the pictures.
TOLD_OTHERWISE = ("models", "classes", "ranked_lists")

#: Tables that the page holds whole, in folds of their own.
WHOLE_TABLES = (
    *("answers", "finetunes", "targets", "zoo"),
    *("best_scores", "selection", "scores"),
    *("retrieval", "retrieval_queries", "camera_pairs"),
    "runtime",
)

SECTIONS = (
    Section(
        "targets",
        "Models",
        "What to fine-tune",
        "Models are compared by their fine-tunes.",
        lambda evidence: [*targets.figures(evidence), *classes.figures(evidence)],
    ),
    Section(
        "scores",
        "Scores",
        "How the scores rank",
        "A score sees a few labelled training images and no fine-tune. It is worth having where "
        "the order it gives is the order that fine-tuning then shows. The best of many looks "
        "better than it is: table best_scores sets it beside chance, and beside what the other "
        "targets would have chosen.",
        scores.figures,
    ),
    Section(
        "recipes",
        "Recipes",
        "Which recipe",
        "The same models under each fine-tuning recipe of the study, and how training went.",
        recipes.figures,
    ),
    Section(
        "retrieval",
        "Re-identification",
        "Re-identification",
        "A fine-tuned model describes query and gallery images; each query ranks the gallery.",
        retrieval.figures,
    ),
    Section(
        "minimisers",
        "Minimisers",
        "Minimisers",
        "How the pretrained solutions bear noise, masks, adversarial steps and moved weights, and "
        "what lies between them.",
        minimisers.figures,
    ),
    Section(
        "features",
        "Features",
        "What fine-tuning does to features",
        "A score reads the features that a model has before fine-tuning. Here is what becomes of "
        "them.",
        correlation.figures,
    ),
    Section("runs", "Time", "What ran", "The time of every job.", runs.figures),
)


def whole_tables(evidence: Evidence) -> list[tuple[str, polars.DataFrame]]:
    """Return the tables that the page holds whole; empty ones are left out."""
    return [(name, evidence[name]) for name in WHOLE_TABLES if not evidence[name].is_empty()]
