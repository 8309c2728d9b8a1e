"""How the scores rank: against the fine-tunes, against each other, and what they save."""

from __future__ import annotations

import altair
import polars

from xferpipe.aggregate.choice import NO_SCORES
from xferpipe.report.charts.common import (
    fraction_scale,
    group_colours,
    listed,
    metric_words,
    reference_line,
    with_group,
)
from xferpipe.report.charts.gains import gain_figures
from xferpipe.report.drawing import (
    ACCENT,
    FAINT,
    INK,
    Choice,
    Figure,
    Panel,
    absent,
    coloured,
    values,
)
from xferpipe.report.evidence import Evidence, method_names
from xferpipe.report.finetune_outcomes import outcomes

SCATTER = "Score against fine-tuned figure"
AGREEMENT = "How well each score orders the models"


#: Rows of `selection` that belong to a score.
SCORES = ~polars.col("method").is_in(NO_SCORES)


def figures(evidence: Evidence) -> list[Figure]:
    """Return the figures that judge the scores."""
    chosen = evidence.judged("selection")
    order = by_agreement(chosen)
    return [
        _scatter(evidence, order),
        _agreement(evidence, chosen),
        *gain_figures(evidence, order),
    ]


def by_agreement(chosen: polars.DataFrame) -> list[str]:
    """List the scores, the one that agrees best with the fine-tunes over all targets first.

    Targets count alike, however many shots they have. Scores that leave out a model come last.
    """
    rows = chosen.filter(SCORES)
    whole = (polars.col("coverage") == 1).sum()
    means = mean_over_targets(rows, "spearman").join(
        rows.group_by("score").agg(whole=whole), on="score", maintain_order="left"
    )
    places = chosen["place"].n_unique()
    return means.sort(
        polars.col("whole") == places,
        "spearman",
        descending=True,
        nulls_last=True,
        maintain_order=True,
    )["score"].to_list()


def mean_over_targets(rows: polars.DataFrame, figure: str) -> polars.DataFrame:
    """Return each score's mean of a figure over targets, those of few shots averaged first."""
    by_target = rows.group_by("score", "target", maintain_order=True).agg(polars.mean(figure))
    return by_target.group_by("score", maintain_order=True).agg(polars.mean(figure))


def _scatter(evidence: Evidence, ranked: list[str]) -> Figure:
    best = outcomes(evidence).filter("first")
    scores = method_names(evidence["scores"]).rename({"low": "score_low", "high": "score_high"})
    data = best.join(
        scores.filter(polars.col("value").is_finite())
        .rename({"value": "score_value"})
        .select("target", "shots", "model", "score", "score_value", "score_low", "score_high"),
        on=["target", "shots", "model"],
    )
    if data.is_empty():
        return absent(
            "score_scatter", SCATTER, "needs scores and finished fine-tunes of the same models"
        )
    data = with_group(evidence, data)
    present = data["score"].unique(maintain_order=True).to_list()
    order = [name for name in ranked if name in present]
    order += [name for name in present if name not in order]
    colours = group_colours(evidence)
    panels = tuple(_scatter_panel(rows, order[0], colours) for rows in evidence.by_place(data))
    return Figure(
        name="score_scatter",
        title=SCATTER,
        caption="A score is useful where the models climb from lower left to upper right; bars are "
        "bootstrap intervals of the score and the range over seeds.",
        alternative=f"Scatter plots of {order[0]} against the fine-tuned figure, one per target.",
        data=data.select(
            "place",
            "score",
            "model",
            "group",
            "recipe",
            "score_value",
            "score_low",
            "score_high",
            "metric",
            "value",
            "low",
            "high",
            "seeds",
        ),
        panels=panels,
        legend=tuple(colours.items()),
        choices=(Choice("Score", "chosen_score", [(name, name) for name in order], order[0]),),
    )


def _scatter_panel(data: polars.DataFrame, default: str, colours: dict[str, str]) -> Panel:
    chosen = altair.param(name="chosen_score", value=default)
    x = altair.X(
        "score_value:Q",
        title="score",
        scale=altair.Scale(zero=False, padding=10),
        # With a tick at every step, neighbouring numbers run into each other.
        axis=altair.Axis(tickCount=5),
    )
    words = metric_words(data["metric"])
    scale = fraction_scale(data["low"], data["high"])
    y = altair.Y("value:Q", title=words, scale=scale)
    tooltip = [
        altair.Tooltip("model:N"),
        altair.Tooltip("recipe:N"),
        altair.Tooltip("seeds:Q", title="runs (seeds)"),
        altair.Tooltip("score:N"),
        altair.Tooltip("score_value:Q", format=".4f", title="score's value"),
        altair.Tooltip("score_low:Q", format=".4f", title="interval from"),
        altair.Tooltip("score_high:Q", format=".4f", title="interval to"),
        altair.Tooltip("value:Q", format=".4f", title="fine-tuned"),
    ]
    base = altair.Chart(
        values(
            data.select(
                "model",
                "recipe",
                "group",
                "score",
                "score_value",
                "score_low",
                "score_high",
                "value",
                "low",
                "high",
                "seeds",
            )
        )
    ).transform_filter("datum.score === chosen_score")
    across = base.mark_rule(color=FAINT).encode(
        x=altair.X("score_low:Q", title="score"), x2="score_high:Q", y=y
    )
    upright = base.mark_rule(color=FAINT).encode(
        x=x, y=altair.Y("low:Q", title=words, scale=scale), y2="high:Q"
    )
    dots = base.mark_circle(size=90, opacity=0.95, stroke="white", strokeWidth=0.8).encode(
        x=x, y=y, color=coloured("group", colours, "model"), tooltip=tooltip
    )
    return Panel(data["place"][0], altair.layer(across, upright, dots).add_params(chosen))


def _agreement(evidence: Evidence, chosen: polars.DataFrame) -> Figure:
    data = chosen.filter(polars.col("spearman").is_not_null() & (polars.col("method") != "random"))
    if data.is_empty():
        why = "a correlation needs at least three models with a score and a finished fine-tune"
        return absent("agreement", AGREEMENT, why)
    order = by_agreement(chosen)
    if "noise_ceiling" in data["score"]:
        order = ["noise_ceiling", *order]
    panels = tuple(_agreement_panel(rows, order) for rows in evidence.by_place(data))
    first = listed(by_agreement(data)[:3])
    return Figure(
        name="agreement",
        title=AGREEMENT,
        caption="Spearman correlation of score and fine-tuned figure over the models, with its "
        "interval from five models on: right is better, left of the line is worse than chance.",
        alternative=f"Correlations by score and target; on average {first} agree best.",
        data=data.select(
            "place",
            "score",
            "metric",
            "models",
            "coverage",
            "spearman",
            "spearman_low",
            "spearman_high",
            "weighted_kendall",
            "kendall",
            "pearson",
            "trials",
            "trials_low",
            "trials_high",
            "regret",
            "regret_low",
            "regret_high",
            "chosen_on",
            "top_model",
            "best_model",
            "seconds",
        ),
        panels=panels,
        summary=_correlations(data, order),
    )


def _correlations(data: polars.DataFrame, order: list[str]) -> polars.DataFrame:
    """Return one row per score: its mean Spearman correlation, and that on each target."""
    wide = data.pivot("place", index="score", values="spearman", aggregate_function="first")
    mean = mean_over_targets(data, "spearman").rename({"spearman": "mean"})
    rank = {name: i for i, name in enumerate(order)}
    return (
        mean.join(wide, on="score")
        .sort(polars.col("score").replace_strict(rank, default=len(rank)))
        .rename({"mean": "mean Spearman"})
    )


def _agreement_panel(data: polars.DataFrame, order: list[str]) -> Panel:
    y = altair.Y("score:N", sort=order, title=None, axis=altair.Axis(grid=False, ticks=False))
    x = altair.X(
        "spearman:Q",
        title="Spearman correlation",
        scale=altair.Scale(domain=[-1, 1]),
        axis=altair.Axis(tickCount=5),
    )
    tooltip = [
        altair.Tooltip("score:N"),
        altair.Tooltip("models:Q"),
        altair.Tooltip("spearman:Q", format=".3f"),
        altair.Tooltip("spearman_low:Q", format=".3f", title="interval from"),
        altair.Tooltip("spearman_high:Q", format=".3f", title="interval to"),
        altair.Tooltip("top_model:N", title="puts first"),
        altair.Tooltip("best_model:N", title="fine-tunes best"),
    ]
    base = altair.Chart(values(data))
    interval = base.mark_rule(color=FAINT, strokeWidth=2).encode(
        y=y, x=altair.X("spearman_low:Q"), x2="spearman_high:Q"
    )
    colour = altair.condition(
        "datum.method === 'noise_ceiling'", altair.value(INK), altair.value(ACCENT)
    )
    dots = base.mark_circle(size=70, opacity=1).encode(y=y, x=x, color=colour, tooltip=tooltip)
    shown = data["score"].n_unique()
    return Panel(
        data["place"][0],
        altair.layer(reference_line(0), interval, dots),
        height=24 * max(shown, 1) + 10,
    )
