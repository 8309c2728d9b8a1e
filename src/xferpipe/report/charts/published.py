"""Published figures beside ours, and rules of thumb put to the test."""

from __future__ import annotations

import altair
import polars

from xferpipe.config.report import Comparison, Side
from xferpipe.report.charts.common import fraction_axis, fraction_scale, listed
from xferpipe.report.drawing import ACCENT, COLOURS, FAINT, INK, Figure, Panel, absent, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.outcomes import outcomes

PUBLISHED, RULES = "Published figures beside ours", "Rules put to the test"

_RUN = ["target", "shots", "model", "recipe"]


def figures(evidence: Evidence) -> list[Figure]:
    """Return the comparisons that the study asks for."""
    return [_published(evidence), _rules(evidence)]


def published_table(evidence: Evidence) -> polars.DataFrame:
    """Return one row per published figure, ours beside it, null where it was not run.

    Returns:
        Columns target, shots, model, recipe, published (fraction), ours (fraction), metric of
        ours, spread, seeds, rank1 (fraction; retrieval alone) and difference (ours - published).
    """
    rows = [
        {"target": one.target, "shots": str(one.shots), "model": one.model, "recipe": one.recipe}
        | {"published": one.value}
        for one in evidence.job.report.published
    ]
    schema = dict.fromkeys(_RUN, polars.String) | {"published": polars.Float64}
    rank1 = (
        evidence["retrieval"]
        .filter(~polars.col("reranked"))
        .group_by(_RUN)
        .agg(polars.mean("rank1"))
    )
    ours = outcomes(evidence).select(*_RUN, "metric", "spread", "seeds", ours=polars.col("value"))
    return (
        polars.DataFrame(rows, schema=schema)
        .join(ours, on=_RUN, how="left", maintain_order="left")
        .join(rank1, on=_RUN, how="left", maintain_order="left")
        .with_columns(difference=polars.col("ours") - polars.col("published"))
    )


def _published(evidence: Evidence) -> Figure:
    data = evidence.with_place(published_table(evidence))
    if data.is_empty():
        return absent("published", PUBLISHED, "the study states no published figures")
    long = data.unpivot(
        ["published", "ours", "rank1"], index=["place", "model", "recipe", "seeds"]
    ).drop_nulls("value")
    long = long.with_columns(run=polars.format("{} · {}", "model", "recipe"))
    ran = data["ours"].drop_nulls().len()
    what = evidence.job.report.figure or "what is printed"
    return Figure(
        name="published",
        title=PUBLISHED,
        caption=f"Published ({what}) and ours by run: {ran} of {data.height} have been run here.",
        alternative=f"Dot plot of {data.height} published figures and {ran} of ours.",
        data=data.drop("place"),
        panels=tuple(_published_panel(rows) for rows in evidence.by_place(long)),
        legend=tuple(_KINDS.items()),
        summary=data.select(
            "model",
            "recipe",
            "published",
            "ours",
            "metric",
            "rank1",
            "spread",
            "seeds",
            "difference",
        ),
        wide=True,
    )


_KINDS = {"published": INK, "ours": ACCENT, "rank1": COLOURS[4]}


def _published_panel(data: polars.DataFrame) -> Panel:
    order = data["run"].unique(maintain_order=True).to_list()
    scale = altair.Scale(domain=list(_KINDS), range=list(_KINDS.values()))
    shape = altair.Scale(domain=list(_KINDS), range=["diamond", "circle", "circle"])
    marks = (
        altair.Chart(values(data))
        .mark_point(size=75, filled=True, opacity=0.9)
        .encode(
            y=altair.Y("run:N", sort=order, title=None, axis=altair.Axis(labelLimit=260)),
            x=fraction_axis("value", "fraction", fraction_scale(data["value"])),
            color=altair.Color("variable:N", scale=scale, title="figure"),
            shape=altair.Shape("variable:N", scale=shape, title="figure"),
            tooltip=[
                "model:N",
                "recipe:N",
                altair.Tooltip("variable:N", title="figure"),
                altair.Tooltip("value:Q", format=".4f"),
                altair.Tooltip("seeds:Q", title="our runs (seeds)"),
            ],
        )
    )
    return Panel(data["place"][0], marks, height=24 * len(order) + 10)


def rules_table(evidence: Evidence) -> polars.DataFrame:
    """Return one row per pair of runs that a rule compares and that were both run.

    Returns:
        Columns rule, place, worse and better (model · recipe), worse_value, better_value and
        difference (better - worse), all fractions, and error: the standard error of the difference
        from the spread over seeds, null for single runs.
    """
    table = outcomes(evidence)
    rows = [
        row
        for comparison in evidence.job.report.comparisons
        for part in evidence.by_place(table)
        for row in _pairs(comparison, part)
    ]
    text, number = polars.String, polars.Float64
    schema = {"rule": text, "place": text, "worse": text, "better": text}
    numbers = ("worse_value", "better_value", "difference", "error")
    return polars.DataFrame(rows, schema=schema | dict.fromkeys(numbers, number), orient="row")


def _pairs(comparison: Comparison, table: polars.DataFrame):
    known = {(row["model"], row["recipe"]): row for row in table.iter_rows(named=True)}
    models = sorted({model for model, _ in known})
    sides = (_cells(side, models) for side in (comparison.worse, comparison.better))
    for first, second in zip(*sides, strict=True):
        if first not in known or second not in known:
            continue
        worse, better = known[first], known[second]
        error = None
        if worse["spread"] is not None and better["spread"] is not None:
            squares = (row["spread"] ** 2 / row["seeds"] for row in (worse, better))
            error = sum(squares) ** 0.5
        difference = better["value"] - worse["value"]
        names = (" · ".join(first), " · ".join(second))
        yield (
            comparison.rule,
            worse["place"],
            *names,
            worse["value"],
            better["value"],
            difference,
            error,
        )


def _cells(side: Side, models: list[str]) -> list[tuple[str, str]]:
    chosen = models if side.models == "all" else side.models
    return [(model, recipe) for model in chosen for recipe in side.recipes]


def _rules(evidence: Evidence) -> Figure:
    rules = [comparison.rule for comparison in evidence.job.report.comparisons]
    if not rules:
        return absent("rules", RULES, "the study names no rules to compare by")
    data = rules_table(evidence)
    if data.is_empty():
        return absent("rules", RULES, f"no pair of runs has finished for {listed(rules)}")
    held = polars.col("difference") > 0
    summary = data.group_by("rule", maintain_order=True).agg(
        pairs=polars.len(), held=held.sum(), mean_difference=polars.mean("difference")
    )
    ends = data.with_columns(
        low=polars.col("difference") - 2 * polars.col("error"),
        high=polars.col("difference") + 2 * polars.col("error"),
    )
    y = altair.Y("rule:N", sort=rules, title=None, axis=altair.Axis(labelLimit=330, grid=False))
    x = altair.X("difference:Q", title="better minus worse, as the rule has it")
    base = altair.Chart(values(ends))
    zero = altair.Chart(altair.Data(values=[{"x": 0}])).mark_rule(color=INK, strokeDash=[3, 3])
    spans = base.mark_rule(color=FAINT).encode(y=y, x="low:Q", x2="high:Q")
    dots = base.mark_circle(size=70, color=ACCENT, opacity=0.7).encode(
        y=y,
        x=x,
        tooltip=[
            "rule:N",
            altair.Tooltip("place:N", title="target"),
            "worse:N",
            "better:N",
            altair.Tooltip("worse_value:Q", format=".4f"),
            altair.Tooltip("better_value:Q", format=".4f"),
            altair.Tooltip("difference:Q", format="+.4f"),
            altair.Tooltip("error:Q", format=".4f", title="standard error"),
        ],
    )
    chart = altair.layer(zero.encode(x="x:Q"), spans, dots)
    return Figure(
        name="rules",
        title=RULES,
        caption="A dot for each pair that a rule compares, right of the line where it held; "
        "bars are two standard errors from the seeds.",
        alternative=f"Differences by rule; pairs that held: {_held(summary)}.",
        data=data,
        panels=(Panel("All targets", chart, height=40 * len(rules) + 10),),
        summary=summary,
        wide=True,
    )


def _held(summary: polars.DataFrame) -> str:
    return listed([f"{row['held']} of {row['pairs']}" for row in summary.iter_rows(named=True)])
