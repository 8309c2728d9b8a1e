"""What is observed of a race's runs: one row a run, with its outcome on every validation image."""

from __future__ import annotations

import polars

_RUN = ["model", "recipe", "seed"]


def observed_runs(
    finetunes: polars.DataFrame, predictions: polars.DataFrame, queries: polars.DataFrame | None
) -> polars.DataFrame:
    """Join the figures of runs with their outcomes.

    Args:
        finetunes: Rows of table `finetunes` of one target and shots.
        predictions: Rows of table `predictions` of those runs.
        queries: Rows of table `validation_queries` of those runs; None where runs have none.
    Returns:
        One row a run, in the order of `finetunes`: model, recipe, seed, status, validation (a
        fraction; null where the run diverged), images (count, null where they are not known),
        outcomes (List[Float64]: right or wrong by image, or average precision by query, in one
        order for all runs; null where there are none), seconds.
    """
    mean_precision = "validation_map" in finetunes.columns
    validation = ["validation_map"] if mean_precision else []
    runs = finetunes.select(
        *_RUN,
        "status",
        validation=polars.coalesce(*validation, "validation_accuracy"),
        seconds="seconds",
        ranked=polars.col("task") == "retrieval",
    )
    right = predictions.filter(polars.col("split") == "validation").select(
        *_RUN, "row", outcome=(polars.col("label") == polars.col("predicted")).cast(polars.Float64)
    )
    runs = runs.join(_lists(right, "right"), on=_RUN, how="left", maintain_order="left")
    if queries is None:
        ranked = polars.lit(None, polars.List(polars.Float64))
    else:
        found = queries.drop_nulls("ap").select(*_RUN, "row", outcome="ap")
        runs = runs.join(_lists(found, "precision"), on=_RUN, how="left", maintain_order="left")
        ranked = polars.col("precision")
    runs = runs.with_columns(outcomes=polars.when("ranked").then(ranked).otherwise("right"))
    return runs.select(
        *_RUN,
        "status",
        "validation",
        polars.col("outcomes").list.len().cast(polars.Int64).alias("images"),
        "outcomes",
        "seconds",
    )


def _lists(outcomes: polars.DataFrame, name: str) -> polars.DataFrame:
    """Gather the outcomes of each run in the order of their rows."""
    return (
        outcomes.sort(*_RUN, "row")
        .group_by(_RUN, maintain_order=True)
        .agg(polars.col("outcome").alias(name))
    )
