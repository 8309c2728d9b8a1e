"""Tables `selection` and `gains`: what each score would have been worth for choosing a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy
import polars

from xferpipe.aggregate.agreement import STATISTICS, Agreement, agreement, draws_of_models
from xferpipe.aggregate.oracle import by_model
from xferpipe.aggregate.orders import best_of_first, sum_of_first, trials_to_best
from xferpipe.aggregate.pools import normalise_pools
from xferpipe.config.scores import WITHOUT_FEATURES
from xferpipe.config.study import Selection
from xferpipe.records import frame

_GROUP = ["target", "shots", "recipe", "metric"]


@dataclass(frozen=True)
class Judged:
    """The fine-tuned models of one (target, shots, recipe, metric) and what a score says of them.

    `score` is minus infinity for a model without a value: it is tried after all others, in random
    order. Correlations leave it out.
    """

    models: list[str]
    score: numpy.ndarray
    metric: numpy.ndarray
    finetune_seconds: numpy.ndarray
    score_seconds: float

    @property
    def scored(self) -> numpy.ndarray:
        """Tell which models have a value (m)."""
        return numpy.isfinite(self.score)


def selection_and_gains(
    selection: Selection,
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    seed: int,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[polars.DataFrame, polars.DataFrame]:
    """Judge every score on every target.

    Args:
        selection: How scores are judged.
        runs: Rows of `oracle.oracle`.
        scores: Table `scores`.
        seed: Seed of the study.
        progress: Called with what is being done, groups of runs done and groups in all.
    Returns:
        Tables `selection` and `gains`.
    """
    scores = normalise_pools(scores)
    feature_seconds = _feature_seconds(scores)
    by_target = {key: list(_methods(part)) for key, part in scores.group_by("target", "shots")}
    selection_rows: list[dict[str, Any]] = []
    gain_rows: list[dict[str, Any]] = []
    groups = list(by_model(runs).group_by(_GROUP, maintain_order=True))
    for done, (key, group) in enumerate(groups):
        if progress is not None:
            progress("judging the scores", done, len(groups))
        if group.height < 2:
            # A recipe that one model alone was run with (a search of it) chooses between nothing.
            continue
        names = dict(zip(_GROUP, key, strict=True))
        target, shots, recipe, metric = key
        passes = {m: s for (t, h, m), s in feature_seconds.items() if (t, h) == (target, shots)}
        reference = _reference(selection, group)
        draws: dict[int, numpy.ndarray] = {}
        random = ("random", "", dict.fromkeys(group["model"], (0.0, 0.0)))
        for method, variant, values in [*by_target.get((target, shots), []), random]:
            judged = _judge(method, values, passes, group)
            row = names | {"method": method, "variant": variant}
            count = int(judged.scored.sum())
            if not count:
                selection_rows.append(row | {"models": 0, "reason": "no model has a value"})
                continue
            if count not in draws:
                draws[count] = draws_of_models(
                    count, selection.bootstrap_samples, seed, target, shots, recipe, metric
                )
            selection_rows.append(row | _selection_row(judged, draws[count], selection.confidence))
            gain_rows.extend(row | gain for gain in _gains(judged, reference))
        own = runs.filter(*(polars.col(name) == value for name, value in names.items()))
        ceiling = noise_ceiling(own, selection, seed)
        if ceiling is not None:
            selection_rows.append(names | {"method": "noise_ceiling", "variant": ""} | ceiling)
    return frame("selection", selection_rows), frame("gains", gain_rows)


def _feature_seconds(scores: polars.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the seconds of each feature pass by (target, shots, model)."""
    passes = (
        scores.filter(polars.col("feature_seconds").is_not_null())
        .select("target", "shots", "model", "feature_seconds")
        .unique(["target", "shots", "model"], keep="first", maintain_order=True)
    )
    return {(target, shots, model): seconds for target, shots, model, seconds in passes.rows()}


def _methods(
    scores: polars.DataFrame,
) -> Iterator[tuple[str, str, dict[str, tuple[float, float]]]]:
    """Yield each score's (value, seconds) by model; `random` is no score of one model."""
    scored = scores.filter(polars.col("method") != "random")
    for (method, variant), part in scored.group_by("method", "variant", maintain_order=True):
        values = zip(part["model"], part["value"], part["seconds"], strict=True)
        yield method, variant, {m: (v, s or 0.0) for m, v, s in values if v is not None}


def _judge(
    method: str,
    values: Mapping[str, tuple[float, float]],
    passes: Mapping[str, float],
    group: polars.DataFrame,
) -> Judged:
    models = group["model"].to_list()
    seconds = sum(values[model][1] for model in models if model in values)
    if method not in WITHOUT_FEATURES:
        seconds += sum(passes.get(model, 0.0) for model in models)
    return Judged(
        models=models,
        score=numpy.array([values[m][0] if m in values else -numpy.inf for m in models]),
        metric=group["value"].to_numpy(),
        finetune_seconds=group["seconds"].fill_null(0.0).to_numpy(),
        score_seconds=seconds,
    )


def _selection_row(judged: Judged, draws: numpy.ndarray, confidence: float) -> dict[str, Any]:
    scored = judged.scored
    found = agreement(judged.score[scored], judged.metric[scored], draws, confidence)
    top = numpy.flatnonzero(judged.score == judged.score.max())
    return _statistics(found) | {
        "models": int(scored.sum()),
        "trials": trials_to_best(judged.metric, judged.score),
        "regret": float(judged.metric.max() - judged.metric[top].mean()),
        "top_model": judged.models[top[0]] if len(top) == 1 else None,
        "best_model": judged.models[int(judged.metric.argmax())],
        "reason": found.reason,
        "seconds": judged.score_seconds,
    }


def _statistics(found: Agreement) -> dict[str, float | None]:
    row = {}
    for name in STATISTICS:
        row[name], row[f"{name}_low"], row[f"{name}_high"] = found.values[name]
    return row


def _reference(selection: Selection, group: polars.DataFrame) -> float | None:
    """Return the metric that gains are counted from; null where the reference was not run."""
    if selection.reference_model is None:
        return float(group["value"].median())
    own = group.filter(polars.col("model") == selection.reference_model)
    return float(own["value"][0]) if own.height else None


def _gains(judged: Judged, reference: float | None) -> Iterator[dict[str, Any]]:
    best = float(judged.metric.max())
    expected = best_of_first(judged.metric, judged.score)
    spent = sum_of_first(judged.finetune_seconds, judged.score)
    for k, (value, seconds) in enumerate(zip(expected, spent, strict=True), start=1):
        yield {
            "k": k,
            "best_of_k": float(value),
            "gain": None if reference is None else float(value - reference),
            "best_gain": None if reference is None else best - reference,
            "relative": float(value / best) if best > 0 else None,
            "seconds": judged.score_seconds + float(seconds),
        }


def noise_ceiling(runs: polars.DataFrame, selection: Selection, seed: int) -> dict[str, Any] | None:
    """Compare the oracle with itself: the mean agreement of two seeds' figures over models.

    No score can be expected to agree with one run of each model better than another run does.

    Args:
        runs: Rows of `oracle.oracle` of one target, shots, recipe and metric.
        selection: How scores are judged.
        seed: Seed of the study.
    Returns:
        Columns of table `selection`, or None where there is one seed.
    """
    seeds = sorted(runs["seed"].unique())
    if len(seeds) < 2:
        return None
    wide = runs.pivot(
        "seed", index="model", values="value", aggregate_function="first"
    ).drop_nulls()
    figures = {number: wide[str(number)].to_numpy() for number in seeds}
    draws = draws_of_models(wide.height, selection.bootstrap_samples, seed, "noise_ceiling")
    found = [
        agreement(figures[a], figures[b], draws, selection.confidence)
        for a, b in combinations(seeds, 2)
    ]
    defined = [one for one in found if one.reason is None]
    if not defined:
        return {"models": wide.height, "reason": found[0].reason}
    means = {
        name: tuple(
            float(numpy.mean(ends)) if ends else None
            for ends in (
                [one.values[name][end] for one in defined if one.values[name][end] is not None]
                for end in range(3)
            )
        )
        for name in STATISTICS
    }
    return _statistics(Agreement(means, None)) | {"models": wide.height}
