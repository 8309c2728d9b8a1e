"""Table `choices`: the score to trust on a target, chosen without looking at that target."""

from __future__ import annotations

import polars

from xferpipe.aggregate.by_model import BEST_ON_TEST
from xferpipe.records import frame

#: Rows of `selection` that are no scores.
NO_SCORES = ("random", "noise_ceiling")

GROUP = ["shots", "recipe"]
_SCORE = ["method", "variant"]


def competing(selection: polars.DataFrame) -> polars.DataFrame:
    """Return the rows of scores that may be compared over targets.

    Within shots and recipe those are the scores that have a value for every model of every target
    and a correlation on each. Recipes chosen on test never count.

    Args:
        selection: Table `selection`.
    Returns:
        Some of its rows.
    """
    defined = selection.filter(
        ~polars.col("method").is_in(NO_SCORES),
        polars.col("recipe") != BEST_ON_TEST,
        polars.col("spearman").is_not_null(),
    )
    targets = polars.col("target").n_unique().over(GROUP)
    whole = polars.col("target").filter(polars.col("coverage") == 1).n_unique()
    return defined.with_columns(targets=targets).filter(
        whole.over([*GROUP, *_SCORE]) == polars.col("targets")
    )


def choices(selection: polars.DataFrame) -> polars.DataFrame:
    """Choose for each target the score with the best mean Spearman correlation on the others.

    Targets judged by different metrics (accuracy, mAP) stand in for each other: a rank correlation
    has no unit. Only scores that cover all models of all targets compete; of equals the first
    counts.

    Args:
        selection: Table `selection`.
    Returns:
        Table `choices`; a target without another one has no row.
    """
    rows = []
    for (shots, recipe), group in competing(selection).group_by(GROUP, maintain_order=True):
        for (target,), here in group.group_by("target", maintain_order=True):
            elsewhere = group.filter(polars.col("target") != target)
            if elsewhere.is_empty():
                continue
            mean = elsewhere.group_by(_SCORE, maintain_order=True).agg(polars.mean("spearman"))
            chosen = mean.sort("spearman", descending=True, maintain_order=True).row(0, named=True)
            own = here.filter(method=chosen["method"], variant=chosen["variant"])
            best = here.sort("spearman", descending=True, maintain_order=True).row(0, named=True)
            rows.append(
                {
                    "target": target,
                    "shots": shots,
                    "recipe": recipe,
                    "metric": best["metric"],
                    "method": chosen["method"],
                    "variant": chosen["variant"],
                    "targets": elsewhere["target"].n_unique(),
                    "spearman_elsewhere": chosen["spearman"],
                    "spearman": own["spearman"][0],
                    "best_method": best["method"],
                    "best_variant": best["variant"],
                    "best_spearman": best["spearman"],
                    "regret": own["regret"][0],
                }
            )
    return frame("choices", rows)
