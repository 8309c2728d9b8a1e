"""Which models to fine-tune first on a target, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import polars

from xferpipe.aggregate.choice import NO_SCORES
from xferpipe.aggregate.pools import normalise_pools


@dataclass(frozen=True)
class Trust:
    """Why a score is believed.

    Attributes:
        method: Score.
        variant: Options of the score.
        targets: Targets that it was judged on, the one asked about left out.
        spearman: Its mean rank correlation with fine-tuning on them; None where nothing is known.
        candidates: Scores that it was chosen among; 1 where it was named.
    """

    method: str
    variant: str = ""
    targets: int = 0
    spearman: float | None = None
    candidates: int = 1


@dataclass(frozen=True)
class Advice:
    """An order of models and what is known of it.

    Attributes:
        trust: The score behind the order.
        models: One row a model, best first: model, value, low, high, apart (the interval lies
            below that of the first), metric (known result or None), licence, source,
            source_licence.
        first: Models to fine-tune: the best, and all that cannot be told from it.
        abstains: Why no single model is named; None where one stands apart.
        warnings: What else to know before believing this.
        target_licence: Licence of the target's images; None where the study does not state it.
    """

    trust: Trust
    models: list[dict[str, Any]]
    first: list[str]
    abstains: str | None
    warnings: list[str] = field(default_factory=list)
    target_licence: str | None = None


def choose_score(selection: polars.DataFrame, target: str, shots: str) -> Trust:
    """Choose the score with the best mean rank correlation on other targets.

    Args:
        selection: Table `selection`.
        target: Target asked about; its own fine-tunes are not looked at.
        shots: Shots asked about.
    Returns:
        The score; LFC, with nothing known of it, where no other target was fine-tuned.
    """
    elsewhere = selection.filter(
        polars.col("target") != target,
        polars.col("shots") == shots,
        ~polars.col("method").is_in(NO_SCORES),
        polars.col("metric") != "speed",
        polars.col("spearman").is_not_null(),
    )
    mean = (
        elsewhere.group_by("method", "variant", maintain_order=True)
        .agg(polars.col("spearman").mean(), targets=polars.col("target").n_unique())
        .filter(polars.col("targets") == elsewhere["target"].n_unique())
        .sort("spearman", descending=True, maintain_order=True)
    )
    if not mean.height:
        return Trust("lfc")
    best = mean.row(0, named=True)
    return Trust(best["method"], best["variant"], best["targets"], best["spearman"], mean.height)


def advise(
    scores: polars.DataFrame,
    zoo: polars.DataFrame,
    trust: Trust,
    target: str,
    shots: str,
    known: dict[str, float],
    confidence: float = 0.95,
    target_licence: str | None = None,
) -> Advice:
    """Order the models of a target.

    The first model stands apart when its interval lies above those of all others, each widened for
    the number of comparisons (Bonferroni).

    Args:
        scores: Table `scores`.
        zoo: Table `zoo`.
        trust: The score to order by.
        target: Target.
        shots: Training images per class, or `full`.
        known: Results of models that were fine-tuned already, fractions.
        confidence: Level of the stored intervals.
        target_licence: Licence of the target's images.
    Returns:
        The order and what is known of it.
    Raises:
        ValueError: The target was not scored, or not by that score.
    """
    here = scores.filter(polars.col("target") == target, polars.col("shots") == shots)
    if not here.height:
        pairs = sorted({f"{t} ({s})" for t, s in scores.select("target", "shots").iter_rows()})
        raise ValueError(
            f"target {target!r} with shots {shots} was not scored; scored: {', '.join(pairs)}"
        )
    own = normalise_pools(here).filter(
        polars.col("method") == trust.method, polars.col("variant") == trust.variant
    )
    valued = own.filter(polars.col("value").is_not_null()).sort(
        "value", descending=True, maintain_order=True
    )
    if not valued.height:
        raise ValueError(
            f"score {trust.method!r} has no value on target {target!r}; computed there: "
            f"{', '.join(sorted(set(here['method'])))}"
        )
    wider = _widening(valued.height - 1, confidence)
    cards = {row["model"]: row for row in zoo.iter_rows(named=True)}
    rows, top = [], None
    for row in valued.iter_rows(named=True):
        low, high = _widened(row, wider)
        top = low if not rows else top
        card = cards.get(row["model"], {})
        rows.append(
            {key: row[key] for key in ("model", "value", "low", "high")}
            | {
                "apart": bool(rows) and None not in (high, top) and high < top,
                "metric": known.get(row["model"]),
                "licence": card.get("licence"),
                "source": card.get("source"),
                "source_licence": card.get("source_licence"),
            }
        )
    first = [row["model"] for row in rows if not row["apart"]]
    return Advice(
        trust,
        rows,
        first,
        _why_not_one(rows, first),
        _warnings(trust, own, valued.height),
        target_licence,
    )


def _widening(comparisons: int, confidence: float) -> float:
    """Return the factor by which an interval grows for so many comparisons."""
    normal, tail = NormalDist(), (1 - confidence) / 2
    return normal.inv_cdf(1 - tail / max(1, comparisons)) / normal.inv_cdf(1 - tail)


def _widened(row: dict[str, Any], factor: float) -> tuple[float | None, float | None]:
    value, low, high = row["value"], row["low"], row["high"]
    if low is None or high is None:
        return None, None
    return value - factor * (value - low), value + factor * (high - value)


def _why_not_one(rows: list[dict[str, Any]], first: list[str]) -> str | None:
    if len(first) == 1:
        return None
    if any(row["low"] is None for row in rows):
        return "the score has no intervals here, so nothing says that its first model is better"
    if len(first) == len(rows):
        return "the intervals of all models overlap that of the first"
    return f"the intervals of {len(first) - 1} further models overlap that of the first"


def _warnings(trust: Trust, own: polars.DataFrame, models: int) -> list[str]:
    found = []
    if trust.spearman is None:
        found.append(
            f"nothing was fine-tuned elsewhere, so nothing is known of how far {trust.method} can "
            "be trusted"
        )
    elif trust.spearman < 0.3:
        found.append(
            f"{trust.method} is the best score on other targets, and its rank correlation with "
            f"fine-tuning is {trust.spearman:.2f} there: little better than chance"
        )
    if trust.candidates > 5:
        found.append(
            f"{trust.method} is the best of {trust.candidates} scores on {trust.targets} targets: "
            "the best of many looks better than it is"
        )
    if models > 5:
        found.append(
            f"{models} models are compared; the intervals are widened for {models - 1} comparisons"
        )
    for model, reason in own.filter(polars.col("value").is_null()).select("model", "reason").rows():
        found.append(f"{model} has no score: {reason}")
    return found
