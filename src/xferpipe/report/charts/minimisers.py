"""Minimisers: how pretrained solutions bear perturbation and forget, and what predicts transfer."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.charts import solutions
from xferpipe.report.charts.common import LIT, listed
from xferpipe.report.drawing import (
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
from xferpipe.report.evidence import Evidence

ROBUSTNESS, FORGETTING, PARTIAL = (
    "Robustness and local energy",
    "What is forgotten",
    "Properties as predictors of transfer",
)
#: What each probe's intensity is.
_PROBES = {
    "noise": "deviation of the pixel noise",
    "mask": "side of the black square",
    "fgsm": "FGSM step",
    "energy": "relative size of the weight noise",
}


def figures(evidence: Evidence) -> list[Figure]:
    """Return the minimiser figures."""
    return [
        _robustness(evidence["minimisers"]),
        *solutions.figures(evidence),
        _forgetting(evidence["forgetting"]),
        _partial(evidence),
    ]


def _robustness(table: polars.DataFrame) -> Figure:
    clean = table.filter(polars.col("probe") == "clean")
    starts = [clean.with_columns(probe=polars.lit(name)) for name in ("noise", "mask", "fgsm")]
    # Every curve of a perturbed input starts where nothing is perturbed.
    data = polars.concat([*starts, table.filter(polars.col("probe").is_in(list(_PROBES)))])
    data = data.filter(polars.col("value").is_finite())
    if data.is_empty():
        return absent("robustness", ROBUSTNESS, "the study has no minimiser probes")
    counted = polars.col("measure").is_in(["accuracy", "error"])
    kind = polars.when(counted).then(polars.lit("fraction")).otherwise(polars.lit("loss"))
    data = data.with_columns(
        group=polars.format("{} {}, {}", "phase", "dataset", "split"), kind=kind
    )
    # Where both are stored, error is what remains of accuracy: one line is enough.
    twice = (polars.col("measure") == "error") & (polars.col("probe") != "energy")
    mean = (
        data.filter(~twice)
        .group_by(["group", "kind", "probe", "measure", "model", "intensity"], maintain_order=True)
        .agg(
            polars.mean("value", "low", "high"),
            runs=polars.len(),
            repeats=polars.sum("repeats"),
        )
    )
    groups = mean["group"].unique(maintain_order=True).to_list()
    groups.sort(key=lambda name: not name.endswith(", test"))
    colours = palette(mean["model"])
    panels = tuple(
        _curve(mean.filter(polars.col("probe") == probe), probe, words, groups[0], colours)
        for probe, words in _PROBES.items()
        if probe in mean["probe"]
    )
    kinds = [("fraction", "accuracy (energy: rise of error)"), ("loss", "loss (energy: its rise)")]
    return Figure(
        name="robustness",
        title=ROBUSTNESS,
        caption="How accuracy falls, or loss rises, with the intensity of a perturbation of pixels "
        "or of weights; bands are intervals over repeats.",
        alternative=f"Curves by model for {listed([panel.label for panel in panels])}.",
        data=data.drop("group", "kind"),
        panels=panels,
        legend=tuple(colours.items()),
        choices=(
            Choice("Show", "chosen_kind", kinds, "fraction"),
            Choice("of", "chosen_group", [(name, name) for name in groups], groups[0]),
        ),
        highlight=True,
    )


def _curve(
    data: polars.DataFrame, probe: str, words: str, group: str, colours: dict[str, str]
) -> Panel:
    parameters = [
        altair.param(name="chosen_kind", value="fraction"),
        altair.param(name="chosen_group", value=group),
        altair.param(name="highlight", value=None),
    ]
    base = altair.Chart(values(data)).transform_filter(
        "datum.kind === chosen_kind && datum.group === chosen_group"
    )
    x = altair.X("intensity:Q", title=words, axis=altair.Axis(tickCount=5))
    colour = coloured("model", colours, "model")
    scale = altair.Scale(zero=False)
    lit = altair.condition(LIT.format("model"), altair.value(1), altair.value(0.1))
    faint = altair.condition(LIT.format("model"), altair.value(0.15), altair.value(0.02))
    bands = base.mark_area().encode(
        x=x, y=altair.Y("low:Q", scale=scale), y2="high:Q", color=colour, opacity=faint
    )
    y = altair.Y("value:Q", title=None, scale=scale)
    lines = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, opacity=lit)
    dots = base.mark_circle(size=32).encode(
        x=x,
        y=y,
        color=colour,
        opacity=lit,
        tooltip=[
            "model:N",
            altair.Tooltip("group:N", title="of"),
            altair.Tooltip("runs:Q", title="runs"),
            altair.Tooltip("intensity:Q", title=words),
            "measure:N",
            altair.Tooltip("value:Q", format=".4f"),
            altair.Tooltip("low:Q", format=".4f", title="from"),
            altair.Tooltip("high:Q", format=".4f", title="to"),
        ],
    )
    return Panel(probe, altair.layer(bands, lines, dots).add_params(*parameters))


def _forgetting(table: polars.DataFrame) -> Figure:
    if table.is_empty():
        return absent("forgetting", FORGETTING, "the study trains no target in parts")
    data = table.group_by(
        ["target", "model", "part_by", "trained", "part"], maintain_order=True
    ).agg(polars.mean("accuracy", "forgotten"), runs=polars.len())
    colours = palette(data["model"])
    panels = tuple(
        _forgetting_panel(part, colours)
        for part in data.partition_by("target", "part_by", maintain_order=True)
    )
    return Figure(
        name="forgetting",
        title=FORGETTING,
        caption="Accuracy on each part of the target after every part is trained: lines that fall "
        "are forgotten.",
        alternative="Lines of accuracy on each part by the part trained last.",
        data=table,
        panels=panels,
        legend=tuple(colours.items()),
        highlight=True,
    )


def _forgetting_panel(data: polars.DataFrame, colours: dict[str, str]) -> Panel:
    encode = {
        "x": altair.X("trained:O", title="part trained last", axis=altair.Axis(labelAngle=0)),
        "y": altair.Y("accuracy:Q", title="accuracy on a part", scale=altair.Scale(zero=False)),
        "color": coloured("model", colours, "model"),
        "opacity": altair.condition(LIT.format("model"), altair.value(1), altair.value(0.1)),
    }
    seen = data.filter(polars.col("trained") >= polars.col("part"))
    base = altair.Chart(values(seen))
    lines = base.mark_line(strokeWidth=1.8).encode(detail=["model:N", "part:N"], **encode)
    dots = base.mark_circle(size=34).encode(
        tooltip=[
            "model:N",
            altair.Tooltip("runs:Q", title="runs"),
            altair.Tooltip("part:Q", title="evaluated part"),
            altair.Tooltip("trained:Q", title="trained last"),
            altair.Tooltip("accuracy:Q", format=".4f"),
            altair.Tooltip("forgotten:Q", format=".4f"),
        ],
        **encode,
    )
    chart = altair.layer(lines, dots).add_params(altair.param(name="highlight", value=None))
    return Panel(f"{data['target'][0]}, in parts by {data['part_by'][0]}", chart)


def _partial(evidence: Evidence) -> Figure:
    data = evidence.with_place(evidence["partial_correlations"]).filter(
        polars.col("partial").is_not_null()
    )
    if data.is_empty():
        return absent("partial", PARTIAL, "no partial correlation was computed")
    data = data.with_columns(
        property=polars.format(
            "{} {}", "method", polars.col("variant").fill_null("")
        ).str.strip_chars()
    )
    panels = tuple(_partial_panel(rows) for rows in evidence.by_place(data))
    return Figure(
        name="partial",
        title=PARTIAL,
        caption="Rank correlation of each property with the fine-tuned figure, hollow as it is and "
        "filled with the accuracy on the source held fixed.",
        alternative="Dot plots of plain and partial correlations by property.",
        data=data.drop("property"),
        panels=panels,
    )


def _partial_panel(data: polars.DataFrame) -> Panel:
    order = (
        data.sort("partial", descending=True, maintain_order=True)["property"]
        .unique(maintain_order=True)
        .to_list()
    )
    y = altair.Y("property:N", sort=order, title=None, axis=altair.Axis(labelLimit=220))
    scale = altair.Scale(domain=[-1, 1])
    tooltip = [
        "property:N",
        "recipe:N",
        "models:Q",
        altair.Tooltip("spearman:Q", format=".3f"),
        altair.Tooltip("partial:Q", format=".3f"),
        altair.Tooltip("low:Q", format=".3f", title="interval from"),
        altair.Tooltip("high:Q", format=".3f", title="interval to"),
    ]
    base = altair.Chart(values(data))
    spans = base.mark_rule(color=FAINT).encode(
        y=y, x=altair.X("low:Q", title="rank correlation", scale=scale), x2="high:Q"
    )
    plain = base.mark_point(size=60, color=INK).encode(
        y=y, x=altair.X("spearman:Q", title="rank correlation", scale=scale), tooltip=tooltip
    )
    held = base.mark_circle(size=70, opacity=1).encode(
        y=y, x=altair.X("partial:Q", title="rank correlation", scale=scale), tooltip=tooltip
    )
    return Panel(data["place"][0], altair.layer(spans, plain, held), height=22 * len(order) + 10)
