"""The link: properties of a pretrained solution as predictors of what it becomes.

`property_rows` puts them beside the scores, so that both are judged by the same fine-tunes.
`partial_correlations` holds the accuracy on the source fixed: a solution that is flatter because
it was trained better would otherwise seem to transfer because it is flat.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy
import polars

from xferpipe.config.study import Selection
from xferpipe.records import frame
from xferpipe.seeding import numpy_generator

#: What is held fixed.
GIVEN = "source_accuracy"
#: With fewer models, three ranks leave nothing to correlate.
MINIMUM_MODELS = 4

_PLACE = ["target", "shots", "recipe", "metric"]


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


def partial_correlations(
    selection: Selection,
    scores: polars.DataFrame,
    judged: polars.DataFrame,
    zoo: polars.DataFrame,
    seed: int,
) -> polars.DataFrame:
    """Correlate every score and property with transfer, the accuracy on the source held fixed.

    Args:
        selection: Bootstrap draws and the level of the intervals.
        scores: Table `scores`, properties included.
        judged: Rows of `aggregate.oracle.by_model`: target, shots, recipe, metric, model, value.
        zoo: Table `zoo`.
        seed: Seed of the study.
    Returns:
        Table `partial_correlations`.
    """
    given = dict(zoo.select("model", GIVEN).iter_rows())
    rows = []
    for place, group in judged.group_by(_PLACE, maintain_order=True):
        names = dict(zip(_PLACE, place, strict=True))
        metric = dict(group.select("model", "value").iter_rows())
        own = scores.filter(target=names["target"], shots=names["shots"])
        own = own.filter(polars.col("value").is_finite(), polars.col("method") != GIVEN)
        for (method, variant), part in own.group_by("method", "variant", maintain_order=True):
            figures = [
                (value, metric[model], given[model])
                for model, value in part.select("model", "value").iter_rows()
                if model in metric and given.get(model) is not None
            ]
            draws = numpy_generator(seed, "partial", *place, len(figures)).integers(
                0, max(1, len(figures)), size=(selection.bootstrap_samples, len(figures))
            )
            rows.append(
                names
                | {"method": method, "variant": variant, "given": GIVEN, "models": len(figures)}
                | _partial(numpy.array(figures).reshape(-1, 3), draws, selection.confidence)
            )
    return frame("partial_correlations", rows)


def _partial(
    figures: numpy.ndarray, draws: numpy.ndarray, confidence: float
) -> dict[str, float | str | None]:
    """Return the correlations of one score; `figures` are score, metric and given, (m, 3)."""
    if len(figures) < MINIMUM_MODELS:
        return {"reason": f"{len(figures)} models with all figures; at least {MINIMUM_MODELS}"}
    plain, partial = partial_spearman(figures[None])
    if not numpy.isfinite(plain[0]):
        return {"reason": "the score or the metric is the same for all models"}
    row: dict[str, float | str | None] = {"spearman": float(plain[0])}
    if not numpy.isfinite(partial[0]):
        return row | {"reason": f"{GIVEN} is the same for all models, or orders them alike"}
    row["partial"] = float(partial[0])
    # A draw of fewer distinct models gives -1 or 1 whatever the figures: it says nothing.
    ordered = numpy.sort(draws, axis=1)
    distinct = 1 + (numpy.diff(ordered, axis=1) > 0).sum(axis=1)
    _, again = partial_spearman(figures[draws[distinct >= MINIMUM_MODELS]])
    again = again[numpy.isfinite(again)]
    if again.size >= 10:
        tail = (1 - confidence) / 2
        low, high = numpy.quantile(again, [tail, 1 - tail])
        row |= {"low": float(low), "high": float(high)}
    return row


def partial_spearman(figures: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Correlate the ranks of two figures, and again with the ranks of a third held fixed.

    Args:
        figures: float (b, m, 3): of each draw and model the two figures and the fixed one.
    Returns:
        Spearman's correlations (b), partial correlations (b); NaN where undefined.
    Source:
        Kendall, Biometrika 32, 1942: (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)).
    """
    from scipy.stats import rankdata

    ranks = rankdata(figures, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    inner = numpy.einsum("bmi,bmj->bij", ranks, ranks)
    size = numpy.sqrt(numpy.einsum("bii->bi", inner))
    with numpy.errstate(invalid="ignore", divide="ignore"):
        correlation = inner / (size[:, :, None] * size[:, None, :])
        xy, xz, yz = correlation[:, 0, 1], correlation[:, 0, 2], correlation[:, 1, 2]
        # What the fixed ranks leave of the others; rounding leaves dust where that is nothing.
        left = (1 - xz**2) * (1 - yz**2)
        partial = numpy.where(left > 1e-12, (xy - xz * yz) / numpy.sqrt(left), numpy.nan)
    return xy, partial
