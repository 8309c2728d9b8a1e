"""Models ranked by their scores alone, where nothing was fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping

import polars

from xferpipe.aggregate.pools import normalise_pools


def ranked(tables: Mapping[str, polars.DataFrame]) -> polars.DataFrame:
    """Rank models by each score.

    Args:
        tables: Model -> what `scores.compute` says of it; all on the same images.
    Returns:
        One row per model, method and variant: the columns of `compute`, `model`, and `rank`, 1 for
        the highest value, a mean rank where values tie, null without a value. Scores that have a
        value among several models only are there as what `normalise_pools` makes of their parts.
    """
    rows = polars.concat(
        table.with_columns(
            model=polars.lit(model),
            target=polars.lit(""),
            shots=polars.lit("full"),
            feature_seconds=polars.lit(None, polars.Float64),
        )
        for model, table in tables.items()
    )
    descending = polars.col("value").rank("average", descending=True)
    rows = normalise_pools(rows).with_columns(rank=descending.over("method", "variant"))
    return rows.drop("target", "shots", "feature_seconds")


def mean_ranks(ranks: polars.DataFrame) -> polars.DataFrame:
    """Order models by their mean rank.

    Args:
        ranks: Table of `ranked`.
    Returns:
        One row per model, the best first: model, mean_rank, first (scores whose highest value is
        the model's, or shared by it), scores (those that count). Counted are scores as a whole, not
        their parts, that have a value for every model. No row where none counts.
    """
    models = ranks["model"].n_unique()
    whole = ranks.filter(variant="")
    valued = polars.col("value").count().over("method") == models
    best = polars.col("value") == polars.col("value").max().over("method")
    return (
        whole.filter(valued)
        .with_columns(best=best)
        .group_by("model", maintain_order=True)
        .agg(
            mean_rank=polars.col("rank").mean(),
            first=polars.col("best").sum(),
            scores=polars.len(),
        )
        .sort("mean_rank", maintain_order=True)
    )
