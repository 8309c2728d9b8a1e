"""The link: properties of a pretrained solution as predictors of what it becomes.

They stand beside the scores, so that both are judged by the same fine-tunes.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars

from xferpipe.records import frame


def property_rows(
    minimisers: polars.DataFrame,
    distances: polars.DataFrame,
    paths: polars.DataFrame,
    epochs: polars.DataFrame,
    scored: Iterable[tuple[str, str]],
) -> polars.DataFrame:
    """Return every property of every pretrained solution as a score of every target.

    A property belongs to the model alone, so its value is the same for all targets. Where less is
    thought to transfer better (energy, norm, distance, barrier) the value is the negative.

    Args:
        minimisers: Table `minimisers`; the test split of pretrained solutions counts.
        distances: Table `distances`.
        paths: Table `paths`; barriers of straight ways on the test split count.
        epochs: Table `epochs`, for the distance that pretraining travelled.
        scored: Pairs (target, shots).
    Returns:
        Table `scores`, methods `noise_accuracy`, `mask_accuracy`, `fgsm_accuracy`,
        `local_energy`, `weight_norm`, `weight_travel`, `weight_distance` and `path_barrier`.
    """
    found = polars.concat(
        [
            _accuracies(minimisers),
            _energies(minimisers),
            _norms(minimisers),
            _travel(epochs),
            _means_over_pairs(distances, "weight_distance", "distance", _counted()),
            _means_over_pairs(
                paths.filter(kind="straight", split="test").unique(["first", "second"]),
                "path_barrier",
                "loss_barrier",
                polars.lit("loss"),
            ),
        ]
    )
    finite = polars.col("value").is_finite()
    found = found.with_columns(
        value=polars.when(finite).then("value"),
        # Weights perturbed too far overflow: no number, as for any score.
        reason=polars.when(~finite).then(polars.lit("the property is not finite")),
    )
    rows = [
        {"target": target, "shots": shots, **row}
        for target, shots in scored
        for row in found.sort("method", "variant", "model").iter_rows(named=True)
    ]
    return frame("scores", rows)


def _columns(
    rows: polars.DataFrame,
    method: polars.Expr,
    variant: polars.Expr,
    value: polars.Expr,
    *,
    negative: bool,
) -> polars.DataFrame:
    """Select a property's columns; the interval changes ends with the sign."""
    low, high = ("high", "low") if negative else ("low", "high")
    sign = -1 if negative else 1
    return rows.select(
        "model",
        method.alias("method"),
        variant.alias("variant"),
        (sign * value).alias("value"),
        (sign * polars.col(low)).alias("low"),
        (sign * polars.col(high)).alias("high"),
        polars.col("images").alias("probe_images"),
        "seconds",
    )


def _intensity() -> polars.Expr:
    return polars.col("intensity").map_elements(lambda x: f"{x:g}", return_dtype=polars.String)


def _accuracies(minimisers: polars.DataFrame) -> polars.DataFrame:
    rows = minimisers.filter(
        polars.col("probe").is_in(["noise", "mask", "fgsm"]),
        phase="pretrained",
        split="test",
        measure="accuracy",
    )
    method = polars.format("{}_accuracy", "probe")
    return _columns(rows, method, _intensity(), polars.col("value"), negative=False)


def _energies(minimisers: polars.DataFrame) -> polars.DataFrame:
    rows = minimisers.filter(phase="pretrained", split="test", probe="energy")
    variant = polars.format("{} {}", "measure", _intensity())
    return _columns(rows, polars.lit("local_energy"), variant, polars.col("value"), negative=True)


def _norms(minimisers: polars.DataFrame) -> polars.DataFrame:
    rows = minimisers.filter(phase="pretrained", probe="weights")
    variant = (
        polars.when(polars.col("measure") == "norm")
        .then(polars.lit("all"))
        .otherwise(polars.lit("without_normalisation"))
    )
    return _columns(rows, polars.lit("weight_norm"), variant, polars.col("value"), negative=True)


def _travel(epochs: polars.DataFrame) -> polars.DataFrame:
    last = epochs.filter(stage="pretrain").sort("epoch").group_by("model").last()
    counted = {"distance": "all", "distance_without_normalisation": "without_normalisation"}
    rows = last.unpivot(list(counted), index="model").with_columns(
        low=polars.lit(None, polars.Float64),
        high=polars.lit(None, polars.Float64),
        images=polars.lit(None, polars.Int64),
        # It falls out of training, which is paid for already.
        seconds=polars.lit(0.0),
    )
    variant = polars.col("variable").replace_strict(counted, return_dtype=polars.String)
    value = polars.col("value")
    return _columns(rows, polars.lit("weight_travel"), variant, value, negative=True)


def _counted() -> polars.Expr:
    return (
        polars.when("normalisation")
        .then(polars.lit("all"))
        .otherwise(polars.lit("without_normalisation"))
    )


def _means_over_pairs(
    pairs: polars.DataFrame, method: str, figure: str, variant: polars.Expr
) -> polars.DataFrame:
    """Average a figure of pairs over the partners of each model."""
    named = pairs.with_columns(variant=variant)
    sides = [
        named.select(polars.col(side).alias("model"), "variant", figure)
        for side in ("first", "second")
    ]
    rows = (
        polars.concat(sides)
        .group_by("model", "variant")
        .agg(polars.col(figure).mean())
        .with_columns(
            low=polars.lit(None, polars.Float64),
            high=polars.lit(None, polars.Float64),
            images=polars.lit(None, polars.Int64),
            seconds=polars.lit(None, polars.Float64),
        )
    )
    return _columns(
        rows, polars.lit(method), polars.col("variant"), polars.col(figure), negative=True
    )
