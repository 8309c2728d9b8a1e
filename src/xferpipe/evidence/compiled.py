"""Table `history` of a finished study, from its result tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy
import polars

from xferpipe.evidence.history import CARD, SCHEMA, named_scores
from xferpipe.records import empty, read_table
from xferpipe.records.judged import judged


def history_of(
    tables: Path, study: str, sources: Mapping[str, str], *, outcomes: bool = False
) -> polars.DataFrame:
    """Compile the history of a finished study.

    Args:
        tables: Folder of its result tables.
        study: Name of the study.
        sources: Target -> where its images come from; a target that is not named is its own source.
        outcomes: Keep which validation images each run got right.
    Returns:
        Table `history`; a target without a validated run is left out.
    Raises:
        RecordError: A table is not there or cannot be read.
    """
    place = ["target", "shots"]
    pairs = [*place, "model"]
    run = [*pairs, "recipe", "seed"]
    ranked = read_table("retrieval", tables / "retrieval.parquet").filter(~polars.col("reranked"))
    diverged = polars.col("status") == "diverged"
    runs = read_table("finetunes", tables / "finetunes.parquet").filter(
        diverged | (polars.col("status") == "finished")
    )
    runs = runs.join(
        ranked.select(*run, "map", "queries"), on=run, how="left", maintain_order="left"
    )
    validated = polars.col("value").is_not_null()
    runs = runs.select(
        *pairs,
        *_kind("run", polars.col("recipe")),
        seed="seed",
        metric=polars.when(task="retrieval").then(polars.lit("map")).otherwise("judged_by"),
        value=polars.when(~diverged).then(judged("validation")),
        images="validation_images",
        test=polars.when(~diverged).then(polars.coalesce("map", judged("test"))),
        test_images=polars.coalesce("queries", "test_images"),
        seconds="seconds",
        recipe="recipe",
        diverged=diverged,
    )
    # A run that was not validated says nothing; one that diverged says that.
    runs = runs.filter(validated.any().over(place) & (validated | polars.col("diverged")))
    if outcomes:
        shown = read_table("predictions", tables / "predictions.parquet")
        right = (
            shown.filter(split="validation")
            .sort(*run, "row")
            .group_by(run, maintain_order=True)
            .agg(right=polars.col("predicted") == polars.col("label"))
            .with_columns(
                outcomes=polars.col("right").map_elements(
                    lambda bits: numpy.packbits(bits.to_numpy()).tobytes(),
                    return_dtype=polars.Binary,
                )
            )
        )
        runs = runs.join(right.drop("right"), on=run, how="left", maintain_order="left")
    targets = runs.select(place).unique(maintain_order=True)
    models = runs.select(pairs).unique(maintain_order=True)
    scores = (
        named_scores(read_table("scores", tables / "scores.parquet"))
        .join(targets, on=place, how="semi")
        .select(
            *pairs,
            *_kind("score", polars.col("name")),
            value="value",
            # Of the score alone: it needs the pass over the images, too.
            seconds=polars.col("seconds") + polars.col("feature_seconds").fill_null(0),
        )
    )
    zoo = read_table("zoo", tables / "zoo.parquet")
    cards = [
        models.join(zoo.select("model", value=polars.col(name).cast(polars.Float64)), on="model")
        .filter(polars.col("value").is_not_null())
        .select(*pairs, *_kind("card", polars.lit(name)), value="value")
        for name in CARD
    ]
    found = polars.concat(
        [empty("history"), runs.drop("recipe", "diverged"), scores, *cards], how="diagonal"
    )
    return found.with_columns(
        schema=polars.lit(SCHEMA, polars.Int64),
        study=polars.lit(study),
        source=polars.col("target").replace(dict(sources)),
    )


def _kind(kind: str, name: polars.Expr) -> tuple[polars.Expr, polars.Expr]:
    return polars.lit(kind).alias("kind"), name.alias("name")
