"""Table `efficiency`: spend runs on more models, or on more recipes of one model?"""

from __future__ import annotations

import numpy
import polars

from xferpipe.aggregate.oracle import by_model
from xferpipe.aggregate.orders import best_of_first, sum_of_first
from xferpipe.config.study import Selection
from xferpipe.records import empty, frame

_RECIPE_GROUP = ["target", "shots", "metric"]


def efficiency(
    selection: Selection, runs: polars.DataFrame, gains: polars.DataFrame
) -> polars.DataFrame:
    """Set the zoo against a hyper-parameter search of the reference model, run for run.

    The search tries the reference model's recipes in random order (closed form) and keeps the one
    that validates best; a recipe without a validation figure is judged by the test figure.

    Args:
        selection: Names the reference model; without one there is no search.
        runs: Rows of `oracle.oracle`.
        gains: Table `gains`.
    Returns:
        Table `efficiency`: rows of the zoo for single recipes, and rows of the search.
    """
    single = gains.filter(~polars.col("recipe").str.starts_with("best"))
    zoo = single.select(
        *_RECIPE_GROUP,
        "recipe",
        "method",
        "variant",
        "seconds",
        strategy=polars.lit("zoo"),
        model=polars.lit(None, polars.String),
        runs=polars.col("k"),
        value=polars.col("best_of_k"),
    )
    columns = empty("efficiency").columns
    return polars.concat([zoo.select(columns), _search(selection, runs).select(columns)])


def _search(selection: Selection, runs: polars.DataFrame) -> polars.DataFrame:
    rows = []
    reference = selection.reference_model
    if reference is None:
        return frame("efficiency", [])
    own = by_model(runs).filter(
        polars.col("model") == reference, ~polars.col("recipe").str.starts_with("best")
    )
    for key, group in own.group_by(_RECIPE_GROUP, maintain_order=True):
        value = group["value"].to_numpy()
        judged_by = group["validation"].fill_null(group["value"]).to_numpy()
        order = numpy.zeros(len(value))
        spent = sum_of_first(group["seconds"].fill_null(0.0).to_numpy(), order)
        expected = best_of_first(value, order, judged_by)
        for count, (reached, seconds) in enumerate(zip(expected, spent, strict=True), start=1):
            rows.append(
                dict(zip(_RECIPE_GROUP, key, strict=True))
                | {
                    "strategy": "search",
                    "model": reference,
                    "method": "random",
                    "variant": "",
                    "runs": count,
                    "value": float(reached),
                    "seconds": float(seconds),
                }
            )
    return frame("efficiency", rows)
