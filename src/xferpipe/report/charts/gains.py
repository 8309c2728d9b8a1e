"""What following a score gains: by number of fine-tunes, and by seconds spent."""

from __future__ import annotations

from collections.abc import Sequence

import altair
import polars

from xferpipe.report.charts.common import LIT, count_axis, fraction_scale
from xferpipe.report.drawing import (
    COLOURS,
    FAINT,
    INK,
    Choice,
    Figure,
    Panel,
    absent,
    coloured,
    palette,
    values,
)
from xferpipe.report.evidence import METRIC_WORDS, Evidence, method_names

GAIN, EFFICIENCY = "What following a score saves", "More models, or more recipes of one model?"
#: What the figure counts along: value of its menu and words.
_ALONG = (("k", "models fine-tuned"), ("seconds", "seconds spent"))


def gain_figures(evidence: Evidence, order: list[str]) -> list[Figure]:
    """Return what the first models of each score's order reach, and at what cost.

    Args:
        evidence: The study's tables.
        order: Scores, best first: as many as there are colours get one, the others are grey.
    """
    several = polars.max("k").over("place") > 1
    data = evidence.judged("gains").filter(several & polars.col("best_of_k").is_not_null())
    if data.is_empty():
        why = "needs scores and finished fine-tunes of two models or more"
        return [absent("gain_at_k", GAIN, why), efficiency_figure(evidence, order)]
    data = data.with_columns(chance=polars.col("method") == "random")
    present = set(data["score"])
    ranked = [name for name in order if name in present]
    ranked += [name for name in data["score"].unique(maintain_order=True) if name not in ranked]
    ranked = [name for name in ranked if name != "random"]
    colours = {n: COLOURS[i] if i < len(COLOURS) else FAINT for i, n in enumerate(ranked)}
    if "random" in present:
        colours["random"] = INK
    columns = ["place", "score", "metric", "k", "chosen_on"]
    columns += ["best_of_k", "best_of_k_low", "best_of_k_high", "redrawn"]
    columns += ["gain", "gain_low", "gain_high", "best_gain", "relative", "seconds"]
    along = [pair for pair in _ALONG if (data[pair[0]].max() or 0) > 0]
    return [
        Figure(
            name="gain_at_k",
            title=GAIN,
            caption="The test figure of the best by validation (by test, where there is none) "
            "among the first k models of a score's order, by their number or by the seconds of "
            "scoring all and fine-tuning these: the earlier a line reaches the dotted top, the "
            "less it takes; black is a random order.",
            alternative="Lines of the best figure among the first k models, one per score.",
            data=data.select(columns),
            panels=tuple(_panel(rows, colours, along) for rows in evidence.by_place(data)),
            legend=tuple(colours.items()),
            choices=(Choice("Along", "along", along, along[0][0]),),
            highlight=True,
        ),
        efficiency_figure(evidence, order),
    ]


def _panel(
    data: polars.DataFrame, colours: dict[str, str], along: Sequence[tuple[str, str]]
) -> Panel:
    highlight = altair.param(name="highlight", value=None)
    chosen = altair.param(name="along", value=along[0][0])
    scale = altair.Scale(zero=False, nice=False, padding=8)
    title = ", or ".join(words for _, words in along)
    x = altair.X("spent:Q", title=title, scale=scale, axis=altair.Axis(tickCount=5, tickMinStep=1))
    words = METRIC_WORDS.get(data["metric"][0], data["metric"][0])
    heights = fraction_scale(data["best_of_k"])
    y = altair.Y("best_of_k:Q", title=words, scale=heights)
    tooltip = [
        altair.Tooltip("score:N"),
        altair.Tooltip("k:Q"),
        altair.Tooltip("best_of_k:Q", format=".4f", title="best of k"),
        altair.Tooltip("best_of_k_low:Q", format=".4f", title="interval from"),
        altair.Tooltip("best_of_k_high:Q", format=".4f", title="interval to"),
        altair.Tooltip("gain:Q", format="+.4f"),
        altair.Tooltip("seconds:Q", format=",.1f"),
    ]
    opacity = altair.condition(LIT.format("score"), altair.value(1), altair.value(0.12))
    columns = ["score", "k", "best_of_k", "best_of_k_low", "best_of_k_high"]
    columns += ["gain", "seconds", "chance"]
    base = altair.Chart(values(data.select(columns))).transform_calculate(
        spent="along === 'k' ? datum.k : datum.seconds"
    )
    encode = {"x": x, "y": y, "color": coloured("score", colours, "score"), "opacity": opacity}
    lines = base.mark_line(strokeWidth=2, interpolate="step-after").encode(
        strokeDash=altair.condition("datum.chance", altair.value([5, 3]), altair.value([1, 0])),
        detail="score:N",
        **encode,
    )
    dots = base.mark_circle(size=34).encode(tooltip=tooltip, **encode)
    top = float(data["best_of_k"].max())
    rule = (
        altair.Chart(altair.Data(values=[{"top": top}]))
        .mark_rule(color=FAINT, strokeDash=[1, 3], strokeWidth=1.5)
        .encode(y=altair.Y("top:Q", title=words, scale=heights))
    )
    return Panel(data["place"][0], altair.layer(rule, lines, dots).add_params(highlight, chosen))


def efficiency_figure(evidence: Evidence, order: list[str]) -> Figure:
    """Return accuracy against runs spent: the zoo in the best score's order, and a search."""
    table = method_names(evidence.with_place(evidence["efficiency"]))
    search = table.filter(polars.col("strategy") == "search")
    if search.is_empty():
        why = "needs `selection.reference_model`, fine-tuned with its recipes"
        return absent("efficiency", EFFICIENCY, why)
    here = search.select("place", "metric").unique()
    zoo = table.filter(
        (polars.col("strategy") == "zoo") & polars.col("score").is_in([*order[:1], "random"])
    )
    zoo = zoo.join(here, on=["place", "metric"], maintain_order="left").with_columns(
        line=polars.when(polars.col("method") == "random")
        .then(polars.lit("zoo, in random order"))
        .otherwise(polars.format("zoo, in the order of {}", "score"))
    )
    data = polars.concat(
        [zoo, search.with_columns(line=polars.format("recipes of {}", "model"))]
    ).filter(polars.col("value").is_finite())
    # A recipe that few models were run with would start and end elsewhere; the data have it.
    models = polars.col("runs").max()
    widest = models.over("place", "line", "recipe") == models.over("place", "line")
    shown = data.filter(widest)
    colours = palette(shown["line"])
    return Figure(
        name="efficiency",
        title=EFFICIENCY,
        caption="What is reached by spending runs on the zoo under the recipe that most models "
        "share, in a score's order or at random, or on a search over recipes of the reference "
        "model.",
        alternative="Lines of the figure reached against runs spent, zoo and search.",
        data=data.drop("line"),
        panels=tuple(_efficiency_panel(rows, colours) for rows in evidence.by_place(shown)),
        legend=tuple(colours.items()),
    )


def _efficiency_panel(data: polars.DataFrame, colours: dict[str, str]) -> Panel:
    words = METRIC_WORDS.get(data["metric"][0], data["metric"][0])
    encode = {
        "x": altair.X("runs:Q", **count_axis(int(data["runs"].max()), "runs spent")),
        "y": altair.Y("value:Q", title=words, scale=fraction_scale(data["value"])),
        "color": coloured("line", colours, "runs spent on"),
        "detail": "recipe:N",
    }
    columns = ["line", "recipe", "runs", "value", "value_low", "value_high", "seconds"]
    base = altair.Chart(values(data.select(columns)))
    dots = base.mark_circle(size=40).encode(
        tooltip=[
            altair.Tooltip("line:N", title="spent on"),
            altair.Tooltip("recipe:N"),
            altair.Tooltip("runs:Q"),
            altair.Tooltip("value:Q", format=".4f"),
            altair.Tooltip("value_low:Q", format=".4f", title="interval from"),
            altair.Tooltip("value_high:Q", format=".4f", title="interval to"),
            altair.Tooltip("seconds:Q", format=",.1f"),
        ],
        **encode,
    )
    return Panel(
        data["place"][0], altair.layer(base.mark_line(strokeWidth=2).encode(**encode), dots)
    )
