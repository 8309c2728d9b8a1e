"""The leaderboard of each target: every model and recipe that was run, the expected best first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars

from xferpipe.report.charts.scores import by_agreement
from xferpipe.report.evidence import METRIC_WORDS, Evidence, method_names
from xferpipe.report.finetune_outcomes import outcomes

#: Scores whose ranks are shown.
SCORES_SHOWN = 3
_KEY = ["model", "recipe"]


@dataclass(frozen=True)
class Row:
    """A model with a recipe.

    Attributes:
        model: Zoo entry.
        recipe: Fine-tuning recipe.
        marks: Flags of table `answers` that it has: pick, top, cheapest.
        warning: What is wrong with it; or empty.
        cells: Numbers by column; None where there is none.
        bar: Interval and value of the test figure as places from 0 to 100 on the scale that all
            rows share: low, value, high; None without one.
    """

    model: str
    recipe: str
    marks: tuple[str, ...]
    warning: str
    cells: dict[str, float | None]
    bar: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Leaderboard:
    """The rows of one target and shots.

    Attributes:
        place: Target, with its shots.
        metric: What the figures are, in words.
        level: Of the intervals, in percent.
        scores: Scores whose ranks among the models are shown.
        rows: The expected best first; runs that came to nothing last.
    """

    place: str
    metric: str
    level: float
    scores: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)


def leaderboards(evidence: Evidence) -> list[Leaderboard]:
    """Return the leaderboard of each (target, shots) on which something was run."""
    shown = by_agreement(evidence.judged("selection"))[:SCORES_SHOWN]
    found = []
    for target, shots in evidence.places():
        board = _board(evidence, target, shots, shown)
        if board.rows:
            found.append(board)
    return found


def _board(evidence: Evidence, target: str, shots: str, scores: list[str]) -> Leaderboard:
    answers = evidence["answers"].filter(target=target, shots=shots)
    runs = evidence["finetunes"].filter(target=target, shots=shots)
    answered = {(row["model"], row["recipe"]): row for row in answers.iter_rows(named=True)}
    validation = {
        (row["model"], row["recipe"]): row["validation"]
        for row in outcomes(evidence).filter(target=target, shots=shots).iter_rows(named=True)
    }
    cards = {row["model"]: row for row in evidence["zoo"].iter_rows(named=True)}
    ranks = _ranks(evidence, target, shots, scores)
    tests = [(row["test_low"], row["test"], row["test_high"]) for row in answered.values()]
    known = [value for row in tests for value in row if value is not None]
    rows = []
    for group in _groups(runs, answers):
        pair = (group["model"], group["recipe"])
        answer, card = answered.get(pair, {}), cards.get(pair[0], {})
        test = (answer.get("test_low"), answer.get("test"), answer.get("test_high"))
        rows.append(
            Row(
                *pair,
                marks=_marks(answer),
                warning="; ".join(filter(None, [_diverged(group), source_warning(card)])),
                cells={
                    "validation": validation.get(pair),
                    "test": test[1],
                    "low": test[0],
                    "high": test[2],
                    "chance": answer.get("probability_best") if answer.get("compared") else None,
                    "runs": group["runs"],
                    "millions": card["parameters"] / 1e6 if card.get("parameters") else None,
                    "seconds": group["seconds"],
                    "milliseconds": card.get("milliseconds"),
                    **{score: ranks[score].get(pair[0]) for score in scores},
                },
                bar=_bar(test, known),
            )
        )
    metrics = answers["metric"].drop_nulls()
    return Leaderboard(
        place=evidence.label(target, shots),
        metric=METRIC_WORDS[metrics[0]] if len(metrics) else "test figure",
        level=100 * answers["level"][0] if answers.height else 95,
        scores=tuple(scores),
        rows=rows,
    )


def _groups(runs: polars.DataFrame, answers: polars.DataFrame) -> list[dict[str, Any]]:
    """Return one row a model and recipe that was run: runs, how many diverged, mean seconds."""
    grouped = runs.group_by(_KEY, maintain_order=True).agg(
        runs=polars.len(),
        diverged=(polars.col("status") == "diverged").sum(),
        seconds=polars.mean("seconds"),
    )
    order = answers.select(*_KEY, "pick", "mean")
    return (
        grouped.join(order, on=_KEY, how="left", maintain_order="left")
        .sort("pick", "mean", descending=True, nulls_last=True, maintain_order=True)
        .to_dicts()
    )


def _marks(answer: dict[str, Any]) -> tuple[str, ...]:
    return tuple(flag for flag in ("pick", "top", "cheapest") if answer.get(flag))


def _diverged(group: dict[str, Any]) -> str:
    if not group["diverged"]:
        return ""
    return f"{group['diverged']} of {group['runs']} runs diverged"


def source_warning(card: dict[str, Any]) -> str:
    """Say of a row of table `zoo` that its model learned next to nothing on its own source."""
    if not card.get("near_chance"):
        return ""
    return (
        f"learned next to nothing on its own source: {card['source_accuracy']:.2f} right among "
        f"{card['source_classes']} classes, as guessing"
    )


def _bar(test: tuple[float | None, ...], known: list[float]) -> tuple[float, float, float] | None:
    if any(value is None for value in test):
        return None
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    return tuple(round(100 * (value - low) / span, 1) for value in test)


def _ranks(
    evidence: Evidence, target: str, shots: str, scores: list[str]
) -> dict[str, dict[str, int]]:
    """Return each model's rank by each score, 1 the highest; those without a value have none."""
    rows = method_names(evidence["scores"].filter(target=target, shots=shots))
    rows = rows.filter(polars.col("value").is_finite()).with_columns(
        rank=polars.col("value").rank("min", descending=True).over("score")
    )
    return {
        score: dict(rows.filter(score=score).select("model", "rank").iter_rows())
        for score in scores
    }
