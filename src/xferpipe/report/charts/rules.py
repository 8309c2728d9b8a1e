"""Rules of thumb and printed orders put to the test on our runs."""

from __future__ import annotations

import altair
import polars

from xferpipe.config.report import Comparison, Side
from xferpipe.report.charts.common import listed, reference_line
from xferpipe.report.drawing import ACCENT, FAINT, Figure, Panel, absent, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes
from xferpipe.report.quantities import orders_table
from xferpipe.report.stand_in_notes import caution, of_order, of_rule

RULES, ORDERS = "Rules put to the test", "Printed orders of models put to the test"


def figures(evidence: Evidence) -> list[Figure]:
    """Return the comparisons that the study asks for."""
    return [_rules(evidence), _orders(evidence)]


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
    chart = altair.layer(reference_line(0), spans, dots)
    parts = [part for rule in evidence.job.report.comparisons for part in of_rule(evidence, rule)]
    return Figure(
        name="rules",
        title=RULES,
        caption="A dot for each pair that a rule compares, right of the line where it held; "
        "bars are two standard errors from the seeds.",
        alternative=f"Differences by rule; pairs that held: {_held(summary)}.",
        data=data,
        panels=(Panel("All targets", chart, height=40 * len(rules) + 10, caution=caution(parts)),),
        summary=summary,
        wide=True,
    )


def _held(summary: polars.DataFrame) -> str:
    return listed([f"{row['held']} of {row['pairs']}" for row in summary.iter_rows(named=True)])


def _orders(evidence: Evidence) -> Figure:
    findings = [order.finding for order in evidence.job.report.orders]
    if not findings:
        return absent("orders", ORDERS, "the study names no printed order of models")
    data = orders_table(evidence)
    if data.is_empty():
        return absent("orders", ORDERS, f"nothing has been run yet for {listed(findings)}")
    summary = data.group_by("finding", maintain_order=True).agg(
        polars.first("printed"),
        ours=polars.col("ours").mode().sort().first(),
        at=polars.col("at").str.join(", "),
        agreeing=polars.sum("agreeing"),
        pairs=polars.sum("pairs"),
    )
    y = altair.Y("finding:N", sort=findings, title=None, axis=altair.Axis(labelLimit=330))
    x = altair.X(
        "share:Q",
        title="share of pairs in the printed order",
        scale=altair.Scale(domain=[0, 1], padding=8),
        axis=altair.Axis(tickCount=5),
    )
    dots = (
        altair.Chart(values(data))
        .mark_circle(size=90, color=ACCENT, opacity=0.55)
        .encode(
            y=y,
            x=x,
            tooltip=[
                "finding:N",
                altair.Tooltip("at:N", title="intensity or target"),
                "printed:N",
                "ours:N",
                altair.Tooltip("agreeing:Q", title="pairs that agree"),
                "pairs:Q",
            ],
        )
    )
    parts = [part for order in evidence.job.report.orders for part in of_order(evidence, order)]
    words = [f"{row['agreeing']} of {row['pairs']}" for row in summary.iter_rows(named=True)]
    return Figure(
        name="orders",
        title=ORDERS,
        caption="A dot for each intensity or target: the share of pairs of models that ours orders "
        "as printed, half by chance.",
        alternative=f"Shares of pairs in the printed order; pairs that agree: {listed(words)}.",
        data=data,
        panels=(
            Panel(
                "All findings",
                altair.layer(reference_line(0.5), dots),
                height=40 * len(findings) + 10,
                caution=caution(parts),
            ),
        ),
        summary=summary,
        wide=True,
    )
