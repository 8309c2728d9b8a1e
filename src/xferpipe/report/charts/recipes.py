"""Which recipe: every model under each, and how training went."""

from __future__ import annotations

import altair
import polars

from xferpipe.config.study import METRICS
from xferpipe.report.charts import published, rules, speed
from xferpipe.report.charts.common import (
    LIT,
    fraction_axis,
    fraction_scale,
    group_colours,
    listed,
    metric_words,
    with_group,
)
from xferpipe.report.drawing import INK, Choice, Figure, Panel, absent, coloured, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes

RECIPES, CURVES = "Recipes side by side", "How fine-tuning went, epoch by epoch"

#: What the curves may show, in the menu's order.
CURVE_COLUMNS = (
    ("judged", "validation figure, else training accuracy"),
    ("validation_accuracy", "validation accuracy"),
    ("validation_balanced_accuracy", "balanced validation accuracy"),
    ("validation_macro_f1", "validation macro-F1"),
    ("validation_map", "validation mAP"),
    ("validation_loss", "validation loss (nats)"),
    ("train_accuracy", "training accuracy"),
    ("train_loss", "training loss (nats)"),
    ("distance", "distance from the initial weights"),
    ("distance_without_normalisation", "distance without normalisation"),
    ("learning_rate", "learning rate"),
)


def figures(evidence: Evidence) -> list[Figure]:
    """Return the figures that compare recipes."""
    beside = [*published.figures(evidence), *rules.figures(evidence)]
    return [_recipes(evidence), *beside, _curves(evidence), *speed.figures(evidence)]


def _recipes(evidence: Evidence) -> Figure:
    data = outcomes(evidence)
    if data.is_empty():
        return absent("recipes", RECIPES, "no fine-tune has finished; run the rule finetune")
    data = with_group(evidence, data)
    colours = group_colours(evidence)
    panels = tuple(_recipe_panel(rows, colours) for rows in evidence.by_place(data))
    means = data.group_by("recipe", maintain_order=True).agg(polars.mean("value"))
    order = means.sort("value", descending=True, maintain_order=True)["recipe"].to_list()
    words = (
        f"{order[0]} is the only recipe." if len(order) == 1 else f"{order[0]} is best on average."
    )
    return Figure(
        name="recipes",
        title=RECIPES,
        caption="Each model under each recipe, a line joining the same model; the bar is the mean "
        "over models.",
        alternative=f"Dot plots of test figures by recipe; {words}",
        data=data.drop("first"),
        panels=panels,
        legend=tuple(colours.items()),
    )


def _recipe_panel(data: polars.DataFrame, colours: dict[str, str]) -> Panel:
    means = data.group_by("recipe", maintain_order=True).agg(
        value=polars.mean("value"), models=polars.len()
    )
    order = means.sort("value", descending=True, maintain_order=True)["recipe"].to_list()
    y = altair.Y("recipe:N", sort=order, title=None, axis=altair.Axis(grid=False, ticks=False))
    x = fraction_axis("value", metric_words(data["metric"]), fraction_scale(data["value"]))
    colour = coloured("group", colours, "model")
    tooltip = [
        altair.Tooltip("model:N"),
        altair.Tooltip("recipe:N"),
        altair.Tooltip("value:Q", format=".4f", title="test figure"),
        altair.Tooltip("seeds:Q", title="runs (seeds)"),
        altair.Tooltip("spread:Q", format=".4f", title="standard deviation"),
    ]
    base = altair.Chart(values(data.select("model", "group", "recipe", "value", "seeds", "spread")))
    lines = base.mark_line(strokeWidth=1, opacity=0.35).encode(
        y=y, x=x, detail="model:N", color=colour
    )
    dots = base.mark_circle(size=55, opacity=0.85).encode(y=y, x=x, color=colour, tooltip=tooltip)
    ticks = (
        altair.Chart(values(means))
        .mark_tick(thickness=3, size=22, color=INK)
        .encode(
            y=y,
            x=x,
            tooltip=["recipe:N", altair.Tooltip("value:Q", format=".4f", title="mean"), "models:Q"],
        )
    )
    height = max(34 * len(order) + 10, 80)
    return Panel(data["place"][0], altair.layer(lines, dots, ticks), height=height)


def _curves(evidence: Evidence) -> Figure:
    best = outcomes(evidence).filter("first")
    best = best.select("target", "shots", "model", "recipe", "metric")
    epochs = evidence["epochs"].filter(polars.col("stage") == "finetune")
    epochs = epochs.join(best, on=["target", "shots", "model", "recipe"])
    # Of every target there is this curve, so that no panel is empty when the page opens.
    judged = polars.coalesce(
        polars.when(polars.col("metric") == name).then(f"validation_{name}") for name in METRICS
    )
    known = judged.count().over("target", "shots") > 0
    epochs = epochs.with_columns(judged=polars.when(known).then(judged).otherwise("train_accuracy"))
    columns = [
        (name, words) for name, words in CURVE_COLUMNS if epochs[name].drop_nulls().len() > 0
    ]
    if not columns:
        return absent("curves", CURVES, "no epoch of a finished fine-tune was recorded")
    by = ["place", "model", "recipe", "epoch"]
    long = (
        evidence.with_place(epochs)
        .unpivot([name for name, _ in columns], index=[*by, "seed"], variable_name="curve")
        .filter(polars.col("value").is_finite())
        .group_by([*by, "curve"], maintain_order=True)
        .agg(
            seeds=polars.len(),
            low=polars.min("value"),
            high=polars.max("value"),
            value=polars.mean("value"),
        )
    )
    long = with_group(evidence, long)
    colours = group_colours(evidence)
    panels = tuple(_curve_panel(rows, columns[0][0], colours) for rows in evidence.by_place(long))
    return Figure(
        name="curves",
        title=CURVES,
        caption="Each model under its best recipe, the mean over seeds with their range as a band.",
        alternative=f"Lines of {listed([words for _, words in columns])} by epoch.",
        data=long,
        panels=panels,
        legend=tuple(colours.items()),
        choices=(
            Choice(
                "Show", "chosen_curve", [(name, words) for name, words in columns], columns[0][0]
            ),
        ),
        highlight=True,
    )


def _curve_panel(data: polars.DataFrame, default: str, colours: dict[str, str]) -> Panel:
    chosen = altair.param(name="chosen_curve", value=default)
    highlight = altair.param(name="highlight", value=None)
    lit = altair.condition(LIT.format("group"), altair.value(1), altair.value(0.1))
    faint = altair.condition(LIT.format("group"), altair.value(0.15), altair.value(0.02))
    x = altair.X("epoch:Q", title="epoch", axis=altair.Axis(tickMinStep=1, format="d", tickCount=6))
    x.scale = altair.Scale(zero=False, nice=False)
    scale = altair.Scale(zero=False)
    colour = coloured("group", colours, "model")
    base = altair.Chart(
        values(
            data.select(
                "model", "group", "recipe", "epoch", "curve", "seeds", "low", "high", "value"
            )
        )
    ).transform_filter("datum.curve === chosen_curve")
    bands = base.mark_area().encode(
        x=x,
        y=altair.Y("low:Q", scale=scale),
        y2="high:Q",
        detail="model:N",
        color=colour,
        opacity=faint,
    )
    y = altair.Y("value:Q", title=None, scale=scale)
    lines = base.mark_line(strokeWidth=1.8).encode(
        x=x, y=y, detail="model:N", color=colour, opacity=lit
    )
    dots = base.mark_circle(size=26).encode(
        x=x,
        y=y,
        color=colour,
        opacity=lit,
        tooltip=[
            "model:N",
            "recipe:N",
            altair.Tooltip("seeds:Q", title="runs (seeds)"),
            "epoch:Q",
            altair.Tooltip("curve:N", title="shown"),
            altair.Tooltip("value:Q", format=".4f"),
        ],
    )
    return Panel(data["place"][0], altair.layer(bands, lines, dots).add_params(chosen, highlight))
