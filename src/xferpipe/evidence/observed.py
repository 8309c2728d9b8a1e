"""What is observed of a race's runs: one row a run, with its outcome on every validation image."""

from __future__ import annotations

import polars

from xferpipe.records.judged import judged

_LIST = polars.List(polars.Float64)
_RUN = ["model", "recipe", "seed"]


def observed_runs(
    finetunes: polars.DataFrame, predictions: polars.DataFrame, queries: polars.DataFrame
) -> polars.DataFrame:
    """Join the figures that runs are judged by with their outcomes, image by image.

    Args:
        finetunes: Rows of table `finetunes` of one target and shots.
        predictions: Rows of table `predictions` of those runs.
        queries: Rows of table `validation_queries` of those runs.
    Returns:
        One row a run, in the order of `finetunes`: model, recipe, seed, status, validation (the
        figure of the validation split that the target is judged by; null where the run diverged),
        images (how many validation images or queries), outcomes (List[Float64]: 1 for each image
        that was classified right and 0 for the others, or each query's average precision; in one
        order for all runs), seconds. Images and outcomes are null where there are none, and
        outcomes too where the runs were not validated on the same images.
    """
    right = predictions.filter(polars.col("split") == "validation").select(
        *_RUN, "row", outcome=(polars.col("label") == polars.col("predicted")).cast(polars.Float64)
    )
    precision = queries.drop_nulls("ap").select(*_RUN, "row", outcome="ap")
    outcomes = (
        polars.concat([right, precision])
        .sort(*_RUN, "row")
        .group_by(_RUN, maintain_order=True)
        .agg(outcomes="outcome", rows="row")
    )
    paired = outcomes["rows"].n_unique() <= 1
    return (
        finetunes.with_columns(validation=judged("validation"))
        .join(outcomes, on=_RUN, how="left", maintain_order="left")
        .select(
            *_RUN,
            "status",
            "validation",
            images=polars.col("outcomes").list.len().cast(polars.Int64),
            outcomes=polars.col("outcomes") if paired else polars.lit(None, _LIST),
            seconds="seconds",
        )
    )
