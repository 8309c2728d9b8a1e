"""Re-identification: mean figures, CMC curves, and which ranked lists are right where."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.charts.common import (
    fraction_axis,
    fraction_scale,
    group_colours,
    listed,
    with_group,
)
from xferpipe.report.drawing import Figure, Panel, absent, coloured, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes

MEANS, CMC, LISTS = "mAP, mINP and first ranks", "CMC curves", "Ranked lists"
#: Ranks that a CMC curve runs to.
CMC_RANKS = 20

_RUN = ["target", "shots", "model", "recipe"]
_FIGURES = ("rank1", "rank5", "rank10", "map", "minp")


def figures(evidence: Evidence) -> list[Figure]:
    """Return the re-identification figures."""
    if evidence["retrieval"].is_empty():
        why = "the study has no re-identification target with a finished fine-tune"
        return [absent("retrieval", MEANS, why), absent("cmc", CMC, why), _lists(evidence)]
    return [_means(evidence), _cmc(evidence), _lists(evidence)]


def _means(evidence: Evidence) -> Figure:
    data = (
        evidence.with_place(evidence["retrieval"])
        .group_by(["place", "model", "recipe", "reranked"], maintain_order=True)
        .agg(polars.len().alias("seeds"), *(polars.mean(name) for name in _FIGURES))
        .sort("map", descending=True, maintain_order=True)
    )
    long = data.unpivot(
        _FIGURES, index=["place", "model", "recipe", "reranked", "seeds"], variable_name="figure"
    ).with_columns(run=_run_words())
    panels = tuple(_means_panel(rows) for rows in evidence.by_place(long))
    best = data.row(0, named=True)
    settings = evidence["retrieval"].row(0, named=True)
    unit = "unit-length features" if settings["normalised"] else "features as they are"
    return Figure(
        name="retrieval",
        title=MEANS,
        caption=f"Means over queries and seeds: {settings['distance']} distance of {unit}, "
        f"junk rule {settings['junk_rule']}, average precision by the {settings['ap_kind']} rule.",
        alternative=f"Figures by model and recipe; the best mAP is {best['map']:.3f} "
        f"({best['model']}, {best['recipe']}).",
        data=data,
        panels=panels,
        legend=tuple(zip(_FIGURES, _SHADES, strict=True)),
        wide=True,
    )


_SHADES = ("#0072B2", "#56B4E9", "#9aa3ad", "#D55E00", "#E69F00")


def _run_words() -> polars.Expr:
    name = polars.format("{} · {}", "model", "recipe")
    reranked = polars.format("{} · {}, re-ranked", "model", "recipe")
    return polars.when("reranked").then(reranked).otherwise(name)


def _means_panel(data: polars.DataFrame) -> Panel:
    order = data.filter(polars.col("figure") == "map")["run"].to_list()
    y = altair.Y("run:N", sort=order, title=None, axis=altair.Axis(grid=False, labelLimit=230))
    colour = coloured("figure", dict(zip(_FIGURES, _SHADES, strict=True)), "figure")
    marks = (
        altair.Chart(values(data))
        .mark_circle(size=70, opacity=0.9)
        .encode(
            y=y,
            x=fraction_axis("value", "fraction", fraction_scale(data["value"])),
            color=colour,
            tooltip=[
                "model:N",
                "recipe:N",
                altair.Tooltip("seeds:Q", title="runs (seeds)"),
                "figure:N",
                altair.Tooltip("value:Q", format=".4f"),
            ],
        )
    )
    return Panel(data["place"][0], marks, height=24 * len(order) + 10)


def cmc_table(evidence: Evidence) -> polars.DataFrame:
    """Return the CMC of every model's best recipe, from the rank of each query's first hit.

    Returns:
        Columns place, model, recipe, rank (1-based) and cmc (fraction of the queries with a
        positive whose first right result stands at that rank or before, over all seeds).
    """
    best = outcomes(evidence).filter("first").select(_RUN)
    queries = (
        evidence.with_place(evidence["retrieval_queries"])
        .filter(~polars.col("reranked") & polars.col("ap").is_not_null())
        .join(best, on=_RUN)
    )
    ranks = polars.DataFrame({"rank": range(1, CMC_RANKS + 1)}, schema={"rank": polars.Int64})
    hit = (polars.col("first_hit") >= 1) & (polars.col("first_hit") <= polars.col("rank"))
    return (
        queries.select("place", "model", "recipe", "first_hit")
        .join(ranks, how="cross")
        .group_by(["place", "model", "recipe", "rank"], maintain_order=True)
        .agg(cmc=hit.mean(), queries=polars.len())
    )


def _cmc(evidence: Evidence) -> Figure:
    data = cmc_table(evidence)
    if data.is_empty():
        return absent("cmc", CMC, "no per-query figures were recorded; run the rule retrieval")
    data = with_group(evidence, data)
    colours = group_colours(evidence)
    panels = tuple(_cmc_panel(rows, colours) for rows in evidence.by_place(data))
    top = data.filter(polars.col("rank") == 1).sort("cmc", descending=True).row(0, named=True)
    return Figure(
        name="cmc",
        title=CMC,
        caption="The share of queries with a right result among the first ranks, each model under "
        "its best recipe, all seeds together.",
        alternative=f"CMC curves; {top['model']} is highest at rank 1 with {top['cmc']:.3f}.",
        data=data,
        panels=panels,
        legend=tuple(colours.items()),
    )


def _cmc_panel(data: polars.DataFrame, colours: dict[str, str]) -> Panel:
    encode = {
        "x": altair.X(
            "rank:Q",
            title="rank",
            scale=altair.Scale(domain=[1, CMC_RANKS], nice=False),
            axis=altair.Axis(values=[1, 5, 10, 15, 20]),
        ),
        "y": altair.Y("cmc:Q", title="queries with a hit", scale=altair.Scale(zero=False)),
        "color": coloured("group", colours, "model"),
        "detail": "model:N",
    }
    base = altair.Chart(values(data.drop("place")))
    lines = base.mark_line(strokeWidth=1.8, interpolate="step-after").encode(**encode)
    dots = base.mark_circle(size=28).encode(
        tooltip=[
            "model:N",
            "recipe:N",
            "rank:Q",
            altair.Tooltip("cmc:Q", format=".4f"),
            "queries:Q",
        ],
        **encode,
    )
    return Panel(data["place"][0], altair.layer(lines, dots))


def _lists(evidence: Evidence) -> Figure:
    best = outcomes(evidence).filter("first").select(_RUN)
    data = (
        evidence.with_place(evidence["ranked_lists"])
        .filter(~polars.col("reranked"))
        .join(best, on=_RUN)
    )
    if data.is_empty():
        return absent("ranked_lists", LISTS, "no ranked list was recorded; run the rule retrieval")
    first = data.filter(polars.col("seed") == polars.min("seed").over(_RUN)).with_columns(
        result=polars.when("junk")
        .then(polars.lit("junk"))
        .when("match")
        .then(polars.lit("right"))
        .otherwise(polars.lit("wrong"))
    )
    # One picture per place: the model that is to be chosen there.
    chosen = outcomes(evidence).filter("first").unique(["target", "shots"], maintain_order=True)
    shown = first.join(chosen.select(_RUN), on=_RUN)
    panels = tuple(_list_panel(rows) for rows in evidence.by_place(shown))
    return Figure(
        name="ranked_lists",
        title=LISTS,
        caption="The first results of each query under the model to choose: right, wrong, or left "
        "out as junk.",
        alternative="A grid of queries by rank; blue cells are right and orange ones are wrong, "
        f"for {listed(shown['model'].unique(maintain_order=True).to_list())}.",
        data=first.select(
            [*_RUN, "seed", "query", "rank", "gallery", "path", "distance", "match", "junk"]
        ),
        panels=panels,
        legend=tuple(_RESULTS.items()),
    )


_RESULTS = {"right": "#0072B2", "wrong": "#D55E00", "junk": "#c9d0d8"}


def _list_panel(data: polars.DataFrame) -> Panel:
    queries = data["query"].unique(maintain_order=True).to_list()[:40]
    data = data.filter(polars.col("query").is_in(queries))
    cells = (
        altair.Chart(
            values(
                data.select(
                    "model", "recipe", "seed", "query", "rank", "path", "distance", "result"
                )
            )
        )
        .mark_rect(stroke="white", strokeWidth=1.5)
        .encode(
            x=altair.X("rank:O", title="rank", axis=altair.Axis(labelAngle=0)),
            y=altair.Y("query:O", title="query", sort=queries),
            color=coloured("result", _RESULTS, "result"),
            tooltip=[
                "model:N",
                "recipe:N",
                altair.Tooltip("seed:O", title="run (seed)"),
                "query:O",
                "rank:O",
                "path:N",
                altair.Tooltip("distance:Q", format=".4f"),
                "result:N",
            ],
        )
    )
    return Panel(data["place"][0], cells, height=min(18 * len(queries) + 10, 560))
