"""Table `best_scores`: the best of many scores, what chance gives, and what the choice is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import polars

from xferpipe.aggregate.agreement import mean_ranks
from xferpipe.aggregate.by_model import by_model
from xferpipe.aggregate.choice import GROUP, choices, competing
from xferpipe.aggregate.pools import normalise_pools
from xferpipe.records import frame
from xferpipe.seeding import numpy_generator

#: Relabellings of the models behind each p-value.
PERMUTATIONS = 2000


def best_scores(
    selection: polars.DataFrame, runs: polars.DataFrame, scores: polars.DataFrame, seed: int
) -> polars.DataFrame:
    """Tell how good the best score is over all targets, and how much of that is the choice.

    The best of many looks better than it is. Beside its mean correlation stand the mean that the
    best of as many scores reaches when the models are relabelled at random, and the mean
    correlation, over targets, of the score that the other targets would have chosen.

    Args:
        selection: Table `selection`.
        runs: Rows of `oracle.oracle`.
        scores: Table `scores`.
        seed: Seed of the study.
    Returns:
        Table `best_scores`, a row for each shots and recipe with a score that covers all models.
    """
    rows = []
    judged, values = by_model(runs), normalise_pools(scores)
    nested = choices(selection).group_by(GROUP).agg(polars.mean("spearman"))
    for (shots, recipe), group in competing(selection).group_by(GROUP, maintain_order=True):
        mean = (
            group.group_by("method", "variant", maintain_order=True)
            .agg(polars.mean("spearman"))
            .sort("spearman", descending=True, maintain_order=True)
        )
        best = mean["spearman"][0]
        alone = mean.filter(polars.col("spearman") == best).height == 1
        places = [
            _ranks(judged, values, group.filter(target=target), mean)
            for target in group["target"].unique(maintain_order=True)
        ]
        chance = maxima_by_chance(places, seed, shots, recipe)
        left_out = nested.filter(shots=shots, recipe=recipe)["spearman"]
        rows.append(
            {
                "shots": shots,
                "recipe": recipe,
                "targets": len(places),
                "models": min(len(models) for models, _, _ in places),
                "candidates": mean.height,
                "method": mean["method"][0] if alone else None,
                "variant": mean["variant"][0] if alone else None,
                "spearman": best,
                "chance_spearman": float(chance.mean()),
                # Relabellings that give the same order reach the same value but for rounding.
                "p_value": float((1 + (chance >= best - 1e-9).sum()) / (1 + len(chance))),
                "nested_spearman": left_out[0] if left_out.len() else None,
                "reason": None if len(places) > 1 else "one target: none is left to choose on",
            }
        )
    return frame("best_scores", rows)


Place = tuple[list[str], numpy.ndarray, numpy.ndarray]


def _ranks(
    judged: polars.DataFrame,
    scores: polars.DataFrame,
    rows: polars.DataFrame,
    candidates: polars.DataFrame,
) -> Place:
    """Return models (m), scores (s, m) and metric (m) of one target, from rows of `selection`."""
    names = {name: rows[name][0] for name in ("target", "shots", "recipe", "metric")}
    group = judged.filter(**names).sort("model")
    models = group["model"].to_list()
    here = scores.filter(target=names["target"], shots=names["shots"])
    value = {tuple(row[:3]): row[3] for row in _values(here)}
    table = [[value[m, v, model] for model in models] for m, v, _ in candidates.iter_rows()]
    return models, numpy.array(table), group["value"].to_numpy()


def _values(scores: polars.DataFrame) -> list[tuple]:
    valued = scores.filter(polars.col("value").is_not_null())
    return valued.select("method", "variant", "model", "value").rows()


def maxima_by_chance(places: Sequence[Place], seed: int, *names: str) -> numpy.ndarray:
    """Draw the best mean correlation that scores reach which have nothing to do with the metric.

    The models' figures are dealt out anew, alike on all targets with the same models: a model that
    is good everywhere stays so, and a score that is the same everywhere gains nothing by it.

    Args:
        places: For each target its models (m), scores (s, m) and metric (m); the same scores in
            the same order.
        seed: Seed of the study.
        names: Path of the random stream.
    Returns:
        Largest mean Spearman correlation of each relabelling, float (PERMUTATIONS).
    """
    everyone = sorted({model for models, _, _ in places for model in models})
    lot = numpy_generator(seed, "best_scores", *names).random((PERMUTATIONS, len(everyone)))
    total = numpy.zeros((len(places[0][1]), PERMUTATIONS))
    for models, scores, metric in places:
        own = [everyone.index(model) for model in models]
        dealt = _standardised(metric[None])[0][numpy.argsort(lot[:, own], axis=1)]
        total += _standardised(scores) @ dealt.T
    return total.max(axis=0) / len(places)


def _standardised(figures: numpy.ndarray) -> numpy.ndarray:
    """Return ranks of each row (s, m), so that a product of two rows is Spearman's correlation."""
    ranks = mean_ranks(figures)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return ranks / numpy.sqrt((ranks**2).sum(axis=1, keepdims=True))
