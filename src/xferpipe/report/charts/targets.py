"""What to fine-tune for each target: every model's best recipe, run by run."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.charts.common import (
    fraction_axis,
    fraction_scale,
    group_colours,
    listed,
    metric_words,
    with_group,
)
from xferpipe.report.drawing import FAINT, Figure, Panel, absent, coloured, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes, runs

TITLE = "How the models compare once fine-tuned"


def figures(evidence: Evidence) -> list[Figure]:
    """Return the comparison of fine-tuned models."""
    best = outcomes(evidence).filter("first")
    if best.is_empty():
        return [absent("models", TITLE, "no fine-tune has finished; run the rule finetune")]
    best = with_group(evidence, best)
    key = ["target", "shots", "model", "recipe"]
    single = runs(evidence).join(best.select([*key, "group"]), on=key)
    colours = group_colours(evidence)
    panels = tuple(
        _panel(rows, single.filter(polars.col("place") == rows["place"][0]), colours)
        for rows in evidence.by_place(best)
    )
    first = best.filter(polars.int_range(polars.len()).over("place") == 0)
    words = [f"{row['model']} for {row['place']}" for row in first.iter_rows(named=True)]
    return [
        Figure(
            name="models",
            title=TITLE,
            caption="Every model with its best recipe: a dot for each seed, a bar at their mean, "
            "in the order of what choices read.",
            alternative=f"Dot plots of test figures by model; first are {listed(words)}.",
            data=best.drop("first"),
            panels=panels,
            legend=tuple(colours.items()),
        )
    ]


def _panel(best: polars.DataFrame, single: polars.DataFrame, colours: dict[str, str]) -> Panel:
    order = best["model"].to_list()
    y = altair.Y("model:N", sort=order, title=None, axis=altair.Axis(grid=False, ticks=False))
    scale = fraction_scale(best["low"], best["high"])
    axis = fraction_axis("value", metric_words(best["metric"]), scale)
    colour = coloured("group", colours, "model")
    tooltip = [
        altair.Tooltip("model:N"),
        altair.Tooltip("recipe:N"),
        altair.Tooltip("seed:O", title="run (seed)"),
        altair.Tooltip("value:Q", format=".4f", title="test figure"),
        altair.Tooltip("validation:Q", format=".4f"),
        altair.Tooltip("validation_images:Q", title="images of validation"),
    ]
    means = [
        altair.Tooltip("model:N"),
        altair.Tooltip("recipe:N"),
        altair.Tooltip("value:Q", format=".4f", title="mean of the runs"),
        altair.Tooltip("seeds:Q", title="runs"),
        altair.Tooltip("spread:Q", format=".4f", title="standard deviation"),
    ]
    base = altair.Chart(values(best))
    span = base.mark_rule(color=FAINT).encode(
        y=y, x=fraction_axis("low", metric_words(best["metric"]), scale), x2="high:Q"
    )
    bars = base.mark_tick(thickness=3, size=14).encode(y=y, x=axis, color=colour, tooltip=means)
    dots = (
        altair.Chart(values(single))
        .mark_circle(size=42, opacity=0.55)
        .encode(y=y, x=axis, color=colour, tooltip=tooltip)
    )
    return Panel(best["place"][0], altair.layer(span, dots, bars), height=26 * len(order) + 10)
