"""Simulated studies (`tests/evidence/simulated.py`) in the form of table `history`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
import polars
from tests.evidence.simulated import NEW, Score, Setting, Study, generate

from xferpipe.evidence.history import SCHEMA
from xferpipe.records import empty

#: Target of the study whose earlier targets are a history.
TARGET = NEW


def history_of(study: Study, sources: Mapping[str, str] | None = None) -> polars.DataFrame:
    """Return the rows of table `history` that a simulated study would leave.

    Args:
        study: Its diverged runs are left out, as in every history.
        sources: Target -> image source; a target that is not named is its own source.
    """
    test_images = polars.col("test_outcomes").list.len().cast(polars.Int64)
    runs = study.runs.filter(polars.col("validation").is_not_null()).select(
        *("target", "model", "seed", "images", "test", "seconds"),
        kind=polars.lit("run"),
        name="recipe",
        metric=polars.lit("accuracy"),
        value="validation",
        test_images=test_images,
        outcomes=polars.col("outcomes").map_elements(packed, return_dtype=polars.Binary),
    )
    scores = study.scores.select(
        "target", "model", "value", kind=polars.lit("score"), name="method"
    )
    table = polars.concat([empty("history"), runs, scores], how="diagonal_relaxed")
    return table.with_columns(
        schema=polars.lit(SCHEMA, polars.Int64),
        study=polars.lit("simulated"),
        shots=polars.lit("full"),
        source=polars.col("target").replace(dict(sources or {})),
    )


def packed(outcomes: polars.Series) -> bytes:
    """Return zeros and ones as packed bits."""
    return numpy.packbits(outcomes.to_numpy() > 0).tobytes()


def brute_forced(targets: int = 12, models: int = 10, seed: int = 0) -> polars.DataFrame:
    """Return table `history` of simulated targets of about the size of a real one.

    Two targets share an image source. Models keep part of their strength from target to target;
    one score is good, one is nearly useless.

    Args:
        targets: How many.
        models: Of each; three recipes and three seeds.
        seed: Seed of the draws.
    """
    setting = Setting(
        models=models,
        recipes=3,
        seeds=3,
        validation_images=200,
        test_images=300,
        accuracy=0.65,
        model_spread=0.08,
        recipe_spread=0.03,
        interaction_spread=0.02,
        scores=(Score("lfc", 0.6), Score("leep", 0.1)),
        earlier_targets=targets,
        memory=0.5,
    )
    (study,) = generate(setting, 1, seed)
    sources = {f"earlier{i}": f"source{i // 2}" for i in range(targets)}
    return history_of(study, sources).filter(polars.col("target") != NEW)
