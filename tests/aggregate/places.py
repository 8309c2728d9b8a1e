"""Made-up runs of one place: rows as `oracle` returns them."""

from __future__ import annotations

import numpy
import polars

PLACE = {"target": "t", "shots": "full", "metric": "accuracy"}


def runs_of(rows: list[dict], **place: str) -> polars.DataFrame:
    """Return runs from rows of model, value and whatever differs from the rest."""
    schema = dict.fromkeys(("target", "shots", "model", "recipe", "metric"), polars.String)
    schema |= {"seed": polars.Int64}
    schema |= dict.fromkeys(("value", "validation", "seconds"), polars.Float64)
    whole = PLACE | {"recipe": "r", "seed": 0, "validation": None, "seconds": 1.0} | place
    return polars.DataFrame([whole | row for row in rows], schema=schema)


def noisy(
    generator: numpy.random.Generator,
    truth: dict[str, float],
    recipes: dict[str, list[str]],
    noise: float,
    seeds: int = 1,
) -> polars.DataFrame:
    """Return runs whose test and validation figures lie around each model's true one."""
    return runs_of(
        [
            {"model": model, "recipe": recipe, "seed": seed}
            | dict(
                zip(("value", "validation"), true + noise * generator.normal(size=2), strict=True)
            )
            for model, true in truth.items()
            for recipe in recipes[model]
            for seed in range(seeds)
        ]
    )
