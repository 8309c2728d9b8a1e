"""How many epochs fine-tuning takes, and how far it moves the weights."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.charts.common import group_colours, widest_recipe, with_group
from xferpipe.report.drawing import Figure, Panel, absent, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes
from xferpipe.report.quantities import run_speeds

TITLE = "How fast and how far fine-tuning goes"


def figures(evidence: Evidence) -> list[Figure]:
    """Return the one figure of this module."""
    return [_speed(evidence)]


def _speed(evidence: Evidence) -> Figure:
    finished = outcomes(evidence).select("target", "shots", "model", "recipe")
    data = run_speeds(evidence).join(
        finished, on=["target", "shots", "model", "recipe"], maintain_order="left"
    )
    if data.is_empty():
        return absent("speed", TITLE, "no epoch of a finished fine-tune was recorded")
    level = f"{100 * evidence.job.selection.speed_train_accuracy:g} %"
    data = widest_recipe(with_group(evidence, evidence.with_place(data)))
    never = data["epochs"].null_count()
    colours = group_colours(evidence)
    return Figure(
        name="speed",
        title=TITLE,
        caption=f"Epochs to {level} training accuracy against the distance of the last epoch's "
        "weights from the initial ones, a dot a run of the recipe that most models share; "
        f"{never} of {data.height} runs, drawn hollow at their last epoch, never got there.",
        alternative=f"Scatter plots of {data.height} runs by epochs to {level} and distance.",
        data=data.drop("place", "group", "shown"),
        panels=tuple(_panel(rows, colours, level) for rows in evidence.by_place(data)),
        legend=tuple(colours.items()),
    )


def _panel(data: polars.DataFrame, colours: dict[str, str], level: str) -> Panel:
    shown = data.with_columns(there=polars.col("epochs").is_not_null())
    last = int(data["shown"].max())
    encode = {
        "x": altair.X(
            "shown:Q",
            title=f"epochs to {level} training accuracy",
            axis=altair.Axis(tickMinStep=1, format="d", tickCount=6),
            scale=altair.Scale(domain=[0, last], nice=False, padding=8),
        ),
        "y": altair.Y(
            "distance:Q", title="distance from the initial weights", scale=altair.Scale(zero=False)
        ),
        "tooltip": [
            "model:N",
            "recipe:N",
            "seed:Q",
            altair.Tooltip("epochs:Q", title=f"epochs to {level}"),
            altair.Tooltip("distance:Q", format=".4f"),
            altair.Tooltip(
                "distance_without_normalisation:Q", format=".4f", title="without normalisation"
            ),
        ],
    }
    scale = altair.Scale(domain=list(colours), range=list(colours.values()))
    dots = (
        altair.Chart(values(shown.drop("place")))
        .mark_point(size=60, strokeWidth=1.4)
        .encode(
            stroke=altair.Stroke("group:N", scale=scale, title="model"),
            fill=altair.Fill("group:N", scale=scale, title="model"),
            fillOpacity=altair.condition("datum.there", altair.value(0.75), altair.value(0)),
            **encode,
        )
    )
    return Panel(f"{data['place'][0]} \u00b7 {data['recipe'][0]}", dots)
