"""Words where published figures stand beside ours of drawn images or of smaller settings."""

from __future__ import annotations

from collections.abc import Iterable

from xferpipe.config.report import Comparison, Published, PublishedOrder, PublishedTable
from xferpipe.report.evidence import Evidence


def parts_of(
    evidence: Evidence,
    *,
    targets: Iterable[str | None] = (),
    models: Iterable[str | None] = (),
    recipes: Iterable[str | None] = (),
) -> list[str]:
    """Return what stands in for what among these names, each part once."""
    known = evidence.job.stand_ins
    asked = ((known.targets, targets), (known.models, models), (known.recipes, recipes))
    parts = (part for words, names in asked for name in names for part in words.get(name, ()))
    return list(dict.fromkeys(parts))


def of_figure(evidence: Evidence, table: PublishedTable, figure: Published) -> list[str]:
    """Return the stand-ins behind our figure; one that names no model is over all of them."""
    known = evidence.job.stand_ins
    if table.quantity in ("scoring_share", "top_3_share"):
        return parts_of(evidence, targets=known.targets, models=known.models, recipes=known.recipes)
    if table.quantity == "distance_over_norm":
        return parts_of(evidence, models=known.models)
    return parts_of(
        evidence,
        targets=(figure.target,),
        models=(figure.model, figure.against),
        recipes=(figure.recipe,),
    )


def of_order(evidence: Evidence, order: PublishedOrder) -> list[str]:
    """Return the stand-ins behind our order of some models."""
    tuned = order.property.startswith("finetuned")
    return parts_of(
        evidence,
        targets=evidence.job.stand_ins.targets if tuned else (),
        models=(name for group in order.groups() for name in group),
        recipes=(order.recipe,),
    )


def of_rule(evidence: Evidence, rule: Comparison) -> list[str]:
    """Return the stand-ins behind our runs of the two sides of a rule."""
    known = evidence.job.stand_ins
    sides = (rule.worse, rule.better)
    models = [known.models if side.models == "all" else side.models for side in sides]
    return parts_of(
        evidence,
        targets=known.targets,
        models=(name for names in models for name in names),
        recipes=(name for side in sides for name in side.recipes),
    )


def caution(parts: Iterable[str]) -> str:
    """Say that ours is not what was published; nothing where it is."""
    different = list(dict.fromkeys(parts))
    return f"Not as published. Ours: {'; '.join(different)}." if different else ""
