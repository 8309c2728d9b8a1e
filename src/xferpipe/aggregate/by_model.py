"""One figure for each model: runs averaged over seeds, and each model at its best recipe.

What chooses reads validation figures and reports test figures. A target whose runs have no
validation figure at all is chosen on test, and says so; where some have one, the others are
reported and take no part in choosing.
"""

from __future__ import annotations

import polars

#: Recipe names of the rows that take each model's best recipe.
BEST, BEST_ON_TEST = "best", "best_on_test"

PLACE = ["target", "shots", "metric"]
_MODEL = ["target", "shots", "recipe", "metric", "model"]


def by_model(runs: polars.DataFrame) -> polars.DataFrame:
    """Average runs over seeds, and add each model's best recipe where there are several.

    `best` chooses the recipe by validation and reports the test figure; `best_on_test` chooses by
    the test figure itself, as published studies did: it shows what that leak is worth. Only the
    recipes that all models share compete, see `comparable`.

    Args:
        runs: Rows of `oracle`.
    Returns:
        target, shots, recipe, metric, model, value, validation, seconds (of one run), runs (count),
        chosen_on (validation or test), key (what choices read; null where a model takes no part)
        and chosen_recipe (the recipe that was run).
    """
    mean = runs.group_by(_MODEL, maintain_order=True).agg(
        polars.col("value", "validation", "seconds").mean(),
        runs=polars.len(),
    )
    mean = with_key(mean.sort(_MODEL), PLACE).with_columns(chosen_recipe="recipe")
    shared = comparable(mean, PLACE)
    several = shared.filter(polars.col("recipe").n_unique().over(PLACE) > 1)
    by_validation = several.filter(
        polars.col("chosen_on") == "validation", polars.col("key").is_not_null()
    )
    on_test = several.with_columns(key="value", chosen_on=polars.lit("test"))
    return polars.concat([mean, _best(by_validation, BEST), _best(on_test, BEST_ON_TEST)])


def with_key(rows: polars.DataFrame, place: list[str]) -> polars.DataFrame:
    """Add what choices read: `chosen_on` and `key`.

    Args:
        rows: Columns value and validation, and those of `place`.
        place: Columns within which models are compared.
    Returns:
        The rows with chosen_on (validation or test) and key: the validation figure, null where
        others of the place have one and the row has none; the test figure where none has.
    """
    validated = polars.col("validation").is_not_null().any().over(place)
    return rows.with_columns(
        chosen_on=polars.when(validated)
        .then(polars.lit("validation"))
        .otherwise(polars.lit("test")),
        key=polars.when(validated).then("validation").otherwise("value"),
    )


def comparable(rows: polars.DataFrame, place: list[str]) -> polars.DataFrame:
    """Return the rows that compare models over equally many recipes.

    A model that was run with more recipes than the others would have the best of more draws. Of
    the recipes that more than half of the models were run with, those count that all models with
    any of them share. A model with none of them counts with what it has, where that is no more
    recipes. Where nothing is shared, every row counts.

    Args:
        rows: One row for each model and recipe, with `key`; rows without one take no part.
        place: Columns within which models are compared.
    Returns:
        Some of the rows, in their order.
    """
    part = rows.filter(polars.col("key").is_not_null())
    return polars.concat(
        [
            part.clear(),
            *(_comparable(group) for group in part.partition_by(place, maintain_order=True)),
        ]
    )


def _comparable(rows: polars.DataFrame) -> polars.DataFrame:
    recipes: dict[str, set[str]] = {}
    for model, recipe in rows.select("model", "recipe").iter_rows():
        recipes.setdefault(model, set()).add(recipe)
    common = {
        recipe
        for recipe in set().union(*recipes.values())
        if 2 * sum(recipe in own for own in recipes.values()) > len(recipes)
    }
    shared = common.intersection(*(own for own in recipes.values() if own & common))
    if not shared:
        return rows
    few = [m for m, own in recipes.items() if not own & common and len(own) <= len(shared)]
    return rows.filter(
        polars.col("recipe").is_in(list(shared)) | polars.col("model").is_in(few),
    )


def _best(rows: polars.DataFrame, name: str) -> polars.DataFrame:
    """Return one row per model, at the recipe with the highest key; ties give their mean."""
    group = [*PLACE, "model"]
    top = polars.col("key") == polars.col("key").max()
    means = polars.col("value", "validation", "seconds").filter(top).mean()
    firsts = polars.col("key", "runs", "chosen_on", "chosen_recipe").filter(top).first()
    chosen = rows.group_by(group, maintain_order=True).agg(means, firsts)
    return chosen.with_columns(recipe=polars.lit(name)).select(rows.columns).sort(_MODEL)
