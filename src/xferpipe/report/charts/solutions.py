"""Between pretrained solutions: the ways from one to another, and how far apart they are."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.charts.common import LIT, listed
from xferpipe.report.drawing import (
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

PATHS, DISTANCES = "On the way from one solution to another", "Distances between solutions"


def figures(evidence: Evidence) -> list[Figure]:
    """Return the paths and the distances."""
    return [_paths(evidence["paths"]), _distances(evidence["distances"])]


def _paths(table: polars.DataFrame) -> Figure:
    data = table.filter(polars.col("loss").is_finite()).with_columns(
        pair=polars.format("{} – {}", "first", "second")
    )
    if data.is_empty():
        return absent("paths", PATHS, "the study has no paths between solutions")
    # Both treatments of the batch norm are in the table; the picture shows the refreshed one.
    refreshed = data.filter("refreshed")
    data = refreshed if refreshed.height else data
    splits = data["split"].unique(maintain_order=True).to_list()
    split = "test" if "test" in splits else splits[0]
    long = data.unpivot(
        ["loss", "error"], index=["pair", "kind", "split", "t"], variable_name="measure"
    )
    colours = palette(data["pair"])
    panels = tuple(
        _path_panel(part, split, colours) for part in long.partition_by("kind", maintain_order=True)
    )
    return Figure(
        name="paths",
        title=PATHS,
        caption="Loss or error between pairs of solutions, batch-norm statistics recomputed where "
        "they were; a hump is a barrier.",
        alternative=f"Curves along {listed([panel.label for panel in panels])} paths, one a pair.",
        data=table,
        panels=panels,
        legend=tuple(colours.items()),
        choices=(
            Choice("Show", "chosen_measure", [("loss", "loss (nats)"), ("error", "error")], "loss"),
            Choice("on", "chosen_split", [(name, name) for name in splits], split),
        ),
        highlight=True,
    )


def _path_panel(data: polars.DataFrame, split: str, colours: dict[str, str]) -> Panel:
    parameters = [
        altair.param(name="chosen_measure", value="loss"),
        altair.param(name="chosen_split", value=split),
        altair.param(name="highlight", value=None),
    ]
    base = altair.Chart(values(data)).transform_filter(
        "datum.measure === chosen_measure && datum.split === chosen_split"
    )
    encode = {
        "x": altair.X("t:Q", title="part of the way", axis=altair.Axis(tickCount=5)),
        "y": altair.Y("value:Q", title=None, scale=altair.Scale(zero=False)),
        "color": coloured("pair", colours, "pair"),
        "opacity": altair.condition(LIT.format("pair"), altair.value(1), altair.value(0.1)),
    }
    lines = base.mark_line(strokeWidth=2).encode(detail="pair:N", **encode)
    dots = base.mark_circle(size=28).encode(
        tooltip=[
            "pair:N",
            "split:N",
            altair.Tooltip("t:Q", format=".2f", title="part of the way"),
            "measure:N",
            altair.Tooltip("value:Q", format=".4f"),
        ],
        **encode,
    )
    return Panel(data["kind"][0], altair.layer(lines, dots).add_params(*parameters))


def _distances(table: polars.DataFrame) -> Figure:
    data = table.filter("normalisation" if table["normalisation"].any() else polars.lit(True))
    if data.is_empty():
        return absent("distances", DISTANCES, "no distances between solutions were measured")
    shown = data.select("first", "second", "distance", "cosine", "norm_first", "norm_second")
    base = altair.Chart(values(shown))
    encode = {
        "x": altair.X("second:N", title=None, axis=altair.Axis(labelAngle=-40)),
        "y": altair.Y("first:N", title=None),
    }
    middle = float((data["distance"].min() + data["distance"].max()) / 2)
    cells = base.mark_rect(stroke="white").encode(
        color=altair.Color("distance:Q", scale=altair.Scale(scheme="blues"), legend=None),
        tooltip=[
            "first:N",
            "second:N",
            *(
                altair.Tooltip(f"{name}:Q", format=".3f")
                for name in ("distance", "cosine", "norm_first", "norm_second")
            ),
        ],
        **encode,
    )
    words = base.mark_text(fontSize=10).encode(
        text=altair.Text("distance:Q", format=".3g"),
        color=altair.condition(
            f"datum.distance > {middle}", altair.value("white"), altair.value(INK)
        ),
        **encode,
    )
    rows = data["first"].n_unique()
    return Figure(
        name="distances",
        title=DISTANCES,
        caption="Euclidean distance of the weights of every pair, normalisation parameters "
        "included; the norms and the angle are in the tooltip.",
        alternative="A grid of pairwise weight distances.",
        data=table,
        panels=(Panel("Pairs", altair.layer(cells, words), height=34 * rows + 10),),
    )
