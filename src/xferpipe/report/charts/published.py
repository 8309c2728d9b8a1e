"""Published figures beside ours."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.charts.common import fraction_scale
from xferpipe.report.drawing import ACCENT, COLOURS, INK, Figure, Panel, absent, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.quantities import published_table
from xferpipe.report.stand_in_notes import caution

TITLE = "Published figures beside ours"

_KINDS = {"published": INK, "ours": ACCENT, "rank1": COLOURS[4]}
_UNITS = {
    "finetuned_distance": "distance",
    "finetuned_epochs": "epochs",
    "source_loss": "loss (nats)",
    "distance_over_norm": "distance over norm",
}


def figures(evidence: Evidence) -> list[Figure]:
    """Return the one figure of this module."""
    return [_published(evidence)]


def _published(evidence: Evidence) -> Figure:
    data = published_table(evidence)
    if data.is_empty():
        return absent("published", TITLE, "the study states no published figures")
    data = data.with_columns(figure=_named(data))
    ran = data["ours"].drop_nulls().len()
    summary = data.select(
        "table",
        "figure",
        "published",
        "ours",
        "difference",
        *(name for name in ("metric", "rank1", "spread", "seeds") if data[name].drop_nulls().len()),
    )
    return Figure(
        name="published",
        title=TITLE,
        caption=f"What was printed and what ours came to: {ran} of {data.height} figures have been "
        "run here, and the words above each picture say how far the two can be compared.",
        alternative=f"Dot plots of {data.height} published figures and {ran} of ours.",
        data=data,
        panels=tuple(_panel(rows) for rows in data.partition_by("table", maintain_order=True)),
        legend=tuple((name, colour) for name, colour in _KINDS.items() if name in _shown(data)),
        summary=summary,
        wide=True,
    )


def _named(data: polars.DataFrame) -> polars.Series:
    """Name each figure by whatever tells it from the others of its table."""
    parts = []
    for name in ("target", "model", "recipe", "method", "variant", "shots"):
        several = polars.col(name).n_unique().over("table") > 1
        named = polars.col(name).is_not_null() & (polars.col(name) != "")
        if name == "shots":
            few = polars.format("{} per class", name)
            words = polars.when(polars.col(name) == "full").then(polars.lit("full")).otherwise(few)
        else:
            words = polars.col(name)
        parts.append(polars.when(named & (several | polars.lit(name == "model"))).then(words))
    against = polars.format("against {}", "against")
    names = polars.concat_str(*parts, against, separator=" \u00b7 ", ignore_nulls=True)
    return data.select(polars.when(names == "").then(polars.lit("all")).otherwise(names))[:, 0]


def _shown(data: polars.DataFrame) -> list[str]:
    return [name for name in _KINDS if data[name].drop_nulls().len()]


def _panel(data: polars.DataFrame) -> Panel:
    long = data.unpivot(
        list(_KINDS), index=["figure", "quantity", "target", "model", "recipe", "seeds"]
    ).drop_nulls("value")
    order = data["figure"].unique(maintain_order=True).to_list()
    kinds = altair.Scale(domain=list(_KINDS), range=list(_KINDS.values()))
    shape = altair.Scale(domain=list(_KINDS), range=["diamond", "circle", "circle"])
    fractions = long["value"].is_between(0, 1).all()
    scale = (
        fraction_scale(long["value"])
        if fractions
        else altair.Scale(zero=False, nice=False, padding=14)
    )
    unit = _UNITS.get(data["quantity"][0], "fraction")
    marks = (
        altair.Chart(values(long))
        .mark_point(size=75, filled=True, opacity=0.9)
        .encode(
            y=altair.Y("figure:N", sort=order, title=None, axis=altair.Axis(labelLimit=330)),
            x=altair.X("value:Q", title=unit, scale=scale, axis=altair.Axis(tickCount=5)),
            color=altair.Color("variable:N", scale=kinds, title="figure"),
            shape=altair.Shape("variable:N", scale=shape, title="figure"),
            tooltip=[
                "figure:N",
                "model:N",
                "recipe:N",
                altair.Tooltip("variable:N", title="whose"),
                altair.Tooltip("value:Q", format=".4f"),
                altair.Tooltip("seeds:Q", title="our runs (seeds)"),
            ],
        )
    )
    note = f"To compare: {data['comparable'][0]}."
    parts = data["stand_ins"].drop_nulls().str.split("; ").explode()
    return Panel(
        data["table"][0], marks, height=24 * len(order) + 10, note=note, caution=caution(parts)
    )
