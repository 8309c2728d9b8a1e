"""Scores that only have a value within a pool of models: normalised here, from stored raw parts."""

from __future__ import annotations

import polars

from xferpipe.aggregate.ties import merge_ties

#: Method -> sign of each raw part, which the score stores under the variant `part=<name>`.
POOLED: dict[str, dict[str, int]] = {
    "ncti": {"seli": 1, "nearest_center": 1, "variability": -1},
    "etran": {"energy": 1, "discriminant": 1},
}


def normalise_pools(scores: polars.DataFrame) -> polars.DataFrame:
    """Replace the raw parts of pooled scores by their normalised sum, and make ties of rounding.

    Each part is scaled to [0, 1] over the models of its (target, shots); the score is the signed
    sum. A part equal for all models counts 0. A model without one of the parts has no score. The
    parts themselves stay in table `scores` alone. Values of a score, and of a part, that differ by
    rounding alone are equal.

    Args:
        scores: Table `scores`.
    Returns:
        The table with one row per model and remaining variant for each pooled score.
    """
    pool = ["target", "shots", "method", "variant"]
    scores = merge_ties(scores, "value", pool)
    own = scores.filter(polars.col("method").is_in(list(POOLED)))
    others = scores.filter(~polars.col("method").is_in(list(POOLED)))
    part = polars.col("variant").str.extract("part=([a-z_]+)")
    rest = polars.col("variant").str.replace("part=[a-z_]+,?", "")
    low, value = polars.col("value").min(), polars.col("value")
    span = value.max() - low
    scaled = polars.when(span > 0).then((value - low) / span).otherwise(0.0)
    sign = polars.struct("method", "part").map_elements(
        lambda row: POOLED[row["method"]].get(row["part"], 0), return_dtype=polars.Int64
    )
    wanted = polars.col("method").replace_strict({m: len(p) for m, p in POOLED.items()})
    summed = (
        own.with_columns(part=part, variant=rest)
        .filter(polars.col("part").is_not_null(), value.is_not_null())
        .with_columns(value=sign * scaled.over([*pool, "part"]))
        .group_by([*pool, "model"], maintain_order=True)
        .agg(
            polars.col("value").sum(),
            polars.len().alias("parts"),
            polars.col("probe_images", "seconds", "feature_seconds", "peak_bytes").first(),
        )
        .filter(polars.col("parts") == wanted)
        .with_columns(
            reason=polars.lit(None, polars.String),
            low=polars.lit(None, polars.Float64),
            high=polars.lit(None, polars.Float64),
        )
    )
    # What is scaled by a span of rounding would differ by rounding again.
    return merge_ties(polars.concat([others, summed.select(others.columns)]), "value", pool)
