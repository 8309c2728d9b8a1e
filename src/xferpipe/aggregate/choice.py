"""Table `choices`: the score to trust on a target, chosen without looking at that target."""

from __future__ import annotations

import polars

from xferpipe.records import frame

#: Rows of `selection` that are no scores.
NO_SCORES = ("random", "noise_ceiling")


def choices(selection: polars.DataFrame) -> polars.DataFrame:
    """Choose for each target the score with the best mean Spearman correlation on the others.

    Targets judged by different metrics (accuracy, mAP) stand in for each other: a rank correlation
    has no unit. Only scores with a value on all other targets compete; of equals the first counts.

    Args:
        selection: Table `selection`.
    Returns:
        Table `choices`; a target without another one has no row.
    """
    scored = selection.filter(
        ~polars.col("method").is_in(NO_SCORES) & polars.col("spearman").is_not_null()
    )
    rows = []
    for (shots, recipe), group in scored.group_by("shots", "recipe", maintain_order=True):
        for (target,), here in group.group_by("target", maintain_order=True):
            elsewhere = group.filter(polars.col("target") != target)
            targets = elsewhere["target"].n_unique()
            mean = (
                elsewhere.group_by("method", "variant", maintain_order=True)
                .agg(polars.col("spearman").mean(), targets=polars.col("target").n_unique())
                .filter(polars.col("targets") == targets)
                .sort("spearman", descending=True, maintain_order=True)
            )
            if not mean.height:
                continue
            chosen = mean.row(0, named=True)
            own = here.filter(
                polars.col("method") == chosen["method"],
                polars.col("variant") == chosen["variant"],
            )
            best = here.sort("spearman", descending=True, maintain_order=True).row(0, named=True)
            rows.append(
                {
                    "target": target,
                    "shots": shots,
                    "recipe": recipe,
                    "metric": best["metric"],
                    "method": chosen["method"],
                    "variant": chosen["variant"],
                    "targets": targets,
                    "spearman_elsewhere": chosen["spearman"],
                    "spearman": own["spearman"][0] if own.height else None,
                    "best_method": best["method"],
                    "best_variant": best["variant"],
                    "best_spearman": best["spearman"],
                    "regret": own["regret"][0] if own.height else None,
                }
            )
    return frame("choices", rows)
