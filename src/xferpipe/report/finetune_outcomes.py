"""What the fine-tunes came to: one figure for each run, and for each model and recipe."""

from __future__ import annotations

import polars

from xferpipe.aggregate.by_model import comparable, with_key
from xferpipe.aggregate.oracle import own_results
from xferpipe.records.judged import judged
from xferpipe.report.evidence import Evidence

_SHAPE = {
    "target": polars.String,
    "shots": polars.String,
    "place": polars.String,
    "model": polars.String,
    "recipe": polars.String,
    "seed": polars.Int64,
    "metric": polars.String,
    "value": polars.Float64,
    "validation": polars.Float64,
    "validation_images": polars.Int64,
}


def runs(evidence: Evidence) -> polars.DataFrame:
    """Return the finished runs with the one figure each is judged by, the user's own included.

    Args:
        evidence: The study's tables.
    Returns:
        Columns target, shots, place, model, recipe, seed, metric (one of `METRICS`), value and
        validation, both fractions, and validation_images (count; null for the user's own runs);
        `validation` is null where nothing was held out to choose on.
    """
    key = ["target", "shots", "model", "recipe", "seed"]
    finished = evidence["finetunes"].filter(polars.col("status") == "finished")
    retrieval = (
        evidence["retrieval"].filter(~polars.col("reranked")).group_by(key).agg(polars.mean("map"))
    )
    ranked = polars.col("task") == "retrieval"
    ours = (
        evidence.with_place(finished)
        .join(retrieval, on=key, how="left")
        .with_columns(
            metric="judged_by",
            value=polars.when(ranked).then("map").otherwise(judged("test")),
            validation=polars.when(ranked).then("validation_map").otherwise(judged("validation")),
        )
        .filter(polars.col("value").is_finite())
        .select(list(_SHAPE))
        .cast(_SHAPE)
    )
    if evidence.job.selection.own_results is None:
        return ours
    theirs = evidence.with_place(own_results(evidence.job.selection.own_results))
    theirs = theirs.with_columns(validation_images=None)
    return polars.concat([ours, theirs.select(list(_SHAPE)).cast(_SHAPE)])


def outcomes(evidence: Evidence) -> polars.DataFrame:
    """Return one row per target, shots, model and recipe: its runs' mean and spread.

    Args:
        evidence: The study's tables.
    Returns:
        Columns of `runs` without seed, with seeds (count), spread (sample standard deviation; null
        for one run), low and high (the runs' range), chosen_on and chosen (what a choice reads, as
        in `aggregate.by_model.with_key`), and first (the model's best recipe by `chosen`, of those
        that models are compared over, see `aggregate.by_model.comparable`).
    """
    by = ["target", "shots", "place", "model", "recipe", "metric"]
    here = ["target", "shots"]
    grouped = (
        runs(evidence)
        .group_by(by, maintain_order=True)
        .agg(
            seeds=polars.len(),
            spread=polars.std("value"),
            low=polars.min("value"),
            high=polars.max("value"),
            value=polars.mean("value"),
            validation=polars.mean("validation"),
        )
    )
    data = with_key(grouped, here)
    best = (
        comparable(data, here)
        .sort("key", descending=True, maintain_order=True)
        .unique([*here, "model"], keep="first", maintain_order=True)
        .select(*by, first=True)
    )
    return (
        data.rename({"key": "chosen"})
        .join(best, on=by, how="left", maintain_order="left")
        .with_columns(polars.col("first").fill_null(value=False))
        .sort(
            [*here, "chosen"],
            descending=[False, False, True],
            nulls_last=True,
            maintain_order=True,
        )
    )
