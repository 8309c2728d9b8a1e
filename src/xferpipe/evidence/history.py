"""Earlier targets: what was fine-tuned on them, what scores had said before, and on which models.

Table `history` is long: one row a run, a score of a model, or an entry of a model's card. Files of
several studies concatenate; `schema` says which form a file has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy
import polars

from xferpipe.evidence.observations import UNKNOWN_IMAGES, angle, chance
from xferpipe.evidence.seeds import step_variance, typical
from xferpipe.records import empty, read_table

#: Form of table `history`; a file of another form is refused.
SCHEMA = 1
#: Cards hold counts that spread over orders of magnitude: their logarithm counts.
LOGARITHMIC = ("parameters",)
#: Entries of a model's card that say something of it on any target.
CARD = ("source_accuracy", "parameters")


class HistoryError(ValueError):
    """A history file cannot be used."""


@dataclass(frozen=True)
class EarlierTarget:
    """One target that was fine-tuned before.

    Attributes:
        name: Target and shots, with the study.
        source: Where its images come from; targets of one source are not independent.
        pairs: Figure of each (model, recipe) as an angle: mean over seeds. A run that diverged
            counts as chance: the lowest figure of all others, or 0.1.
        seeds: Usual standard deviation over seeds of each recipe that was repeated, as an angle.
        scores: Score -> model -> value; entries of the models' cards among them.
        seconds: Time of a run of each (model, recipe), geometric mean, s; where it is known.
    """

    name: str
    source: str
    pairs: dict[tuple[str, str], float]
    seeds: dict[str, float]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    @cached_property
    def models(self) -> list[str]:
        """Models that were fine-tuned, in order."""
        return list(dict.fromkeys(model for model, _ in self.pairs))

    @cached_property
    def by_model(self) -> dict[str, float]:
        """Each model's mean over the recipes that all models share; else over its own."""
        recipes = {recipe for _, recipe in self.pairs}
        shared = {
            recipe
            for recipe in recipes
            if all((model, recipe) in self.pairs for model in self.models)
        } or recipes
        return {
            model: float(
                numpy.mean([v for (m, r), v in self.pairs.items() if m == model and r in shared])
            )
            for model in self.models
            if any(m == model and r in shared for m, r in self.pairs)
        }


def named_scores(scores: polars.DataFrame) -> polars.DataFrame:
    """Return the rows of table `scores` that have a value, with `name`: method[variant]."""
    plain = polars.col("variant").fill_null("") == ""
    return scores.filter(
        polars.col("value").is_finite(), polars.col("method") != "random"
    ).with_columns(
        name=polars.when(plain)
        .then("method")
        .otherwise(polars.format("{}[{}]", "method", "variant"))
    )


def read_history(paths: Iterable[Path]) -> polars.DataFrame:
    """Read files of table `history` as one.

    Args:
        paths: Parquet files; none gives an empty table.
    Returns:
        Their rows; a target that two files hold (study, target, shots) counts once.
    Raises:
        HistoryError: A file is of another form.
        RecordError: A file is no such table.
    """
    parts = [empty("history")]
    for path in paths:
        table = read_table("history", path)
        forms = set(table["schema"].unique()) - {SCHEMA}
        if forms:
            raise HistoryError(
                f"{path} has form {sorted(forms)} of the history; this version reads form "
                f"{SCHEMA}: make it anew with `xferpipe history add`"
            )
        parts.append(table)
    return polars.concat(parts).unique(maintain_order=True)


def earlier_targets(history: polars.DataFrame) -> list[EarlierTarget]:
    """Return the targets of table `history` with at least three models."""
    found = []
    for key, rows in history.group_by("study", "target", "shots", maintain_order=True):
        target = _target("/".join(map(str, key)), rows)
        if len(target.models) >= 3:
            found.append(target)
    return found


def _target(name: str, rows: polars.DataFrame) -> EarlierTarget:
    runs = rows.filter(polars.col("kind") == "run")
    angles = angle(
        runs["value"].fill_null(chance(runs["value"].drop_nulls())).to_numpy(),
        runs["images"].fill_null(UNKNOWN_IMAGES).to_numpy().astype(float),
    )
    finished = polars.col("value").is_not_null()
    figures = (
        runs.with_columns(angle=polars.Series(angles))
        .group_by("model", "name", maintain_order=True)
        .agg(
            polars.col("angle").mean(),
            variance=polars.col("angle").filter(finished).var(),
            freedom=finished.sum().cast(polars.Float64) - 1,
            images=polars.col("images").fill_null(UNKNOWN_IMAGES).mean(),
            seconds=polars.col("seconds").filter(polars.col("seconds") > 0).log().mean().exp(),
        )
    )
    seeds = {
        recipe: typical(rows["variance"], rows["freedom"], step_variance(rows["images"].mean()))
        ** 0.5
        for (recipe,), rows in figures.filter(polars.col("freedom") > 0).group_by(
            "name", maintain_order=True
        )
    }
    scores: dict[str, dict[str, float]] = {}
    others = rows.filter(polars.col("kind") != "run", polars.col("value").is_not_null())
    for model, score, value in others.select("model", "name", "value").rows():
        scores.setdefault(score, {})[model] = value
    pairs = {(row[0], row[1]): row[2] for row in figures.rows()}
    timed = figures.select("model", "name", "seconds").drop_nulls().rows()
    seconds = {(model, recipe): value for model, recipe, value in timed}
    return EarlierTarget(name, rows["source"][0], pairs, seeds, scores, seconds)
