"""Tables `selection` and `gains`: what each score would have been worth for choosing a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import polars

from xferpipe.aggregate.agreement import STATISTICS, Agreement, agreement
from xferpipe.aggregate.by_model import by_model
from xferpipe.aggregate.ceiling import noise_ceiling
from xferpipe.aggregate.orders import best_of_first, sum_of_first, trials_to_best
from xferpipe.aggregate.pools import normalise_pools
from xferpipe.aggregate.redraws import Outcomes, Redraws, ends, redraw
from xferpipe.aggregate.ties import merged
from xferpipe.config.scores import WITHOUT_FEATURES
from xferpipe.config.study import Selection
from xferpipe.records import frame

_GROUP = ["target", "shots", "recipe", "metric"]

#: Outcomes by image of a (target, shots, metric), by split: see `redraws.outcomes`.
Known = Callable[[str, str, str], Mapping[str, Outcomes]]

#: Why a model that was run takes no part in choosing.
NO_PART = "no validation figures to choose on, which other runs of the target have"


@dataclass(frozen=True)
class Judged:
    """The fine-tuned models of one (target, shots, recipe, metric) and what a score says of them.

    `score` is minus infinity for a model without a value: it is tried after all others, in random
    order. Correlations leave it out. `key` is what choices read; NaN for a model that takes no
    part in them.
    """

    models: list[str]
    score: numpy.ndarray
    metric: numpy.ndarray
    key: numpy.ndarray
    finetune_seconds: numpy.ndarray
    score_seconds: float

    @property
    def scored(self) -> numpy.ndarray:
        """Tell which models have a value (m)."""
        return numpy.isfinite(self.score)

    @property
    def tried(self) -> numpy.ndarray:
        """Tell which models take part in choosing (m)."""
        return numpy.isfinite(self.key)


def selection_and_gains(
    selection: Selection,
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    seed: int,
    *,
    known: Known = lambda *place: {},
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[polars.DataFrame, polars.DataFrame]:
    """Judge every score on every target.

    Args:
        selection: How scores are judged.
        runs: Rows of `oracle.oracle`.
        scores: Table `scores`.
        seed: Seed of the study.
        known: Gives the outcomes by image of a place; unset: nothing is known by image.
        progress: Called with what is being done, groups of runs done and groups in all.
    Returns:
        Tables `selection` and `gains`.
    """
    scores = normalise_pools(scores)
    feature_seconds = _feature_seconds(scores)
    by_target = {key: list(methods(part)) for key, part in scores.group_by("target", "shots")}
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
        here = runs.filter(target=target, shots=shots, metric=metric)
        tried = group.filter(polars.col("key").is_not_null())
        draws = redraw(tried, here, known(target, shots, metric), seed) if tried.height else None
        random = ("random", "", dict.fromkeys(group["model"], (0.0, 0.0)))
        for method, variant, values in [*by_target.get((target, shots), []), random]:
            judged = _judge(method, values, passes, group)
            row = names | {"method": method, "variant": variant}
            row |= {"chosen_on": group["chosen_on"][0]}
            if not judged.scored.any():
                lacking = {"models": 0, "coverage": 0.0, "reason": "no model has a value"}
                selection_rows.append(row | lacking)
                continue
            selection_rows.append(row | _selection_row(judged, draws, selection.confidence))
            if draws is not None:
                gain_rows.extend(row | gain for gain in _gains(judged, draws, selection))
        ceiling = noise_ceiling(here.filter(recipe=recipe), selection.confidence)
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


def methods(
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
        metric=merged(group["value"].to_numpy()),
        key=merged(group["key"].to_numpy()),
        finetune_seconds=group["seconds"].fill_null(0.0).to_numpy(),
        score_seconds=seconds,
    )


def _selection_row(judged: Judged, draws: Redraws | None, confidence: float) -> dict[str, Any]:
    scored = judged.scored
    found = agreement(judged.score[scored], judged.metric[scored], confidence)
    top = numpy.flatnonzero(judged.score == judged.score.max())
    row = _statistics(found) | {
        "models": int(scored.sum()),
        "coverage": float(scored.mean()),
        "top_model": judged.models[top[0]] if len(top) == 1 else None,
        "reason": found.reason,
        "seconds": judged.score_seconds,
    }
    if draws is None:
        return row | {"reason": "; ".join(filter(None, (found.reason, NO_PART)))}
    tried = judged.tried
    names = [model for model, part in zip(judged.models, tried, strict=True) if part]
    metric, key, score = judged.metric[tried], judged.key[tried], judged.score[tried]
    trials = trials_to_best(key[None], score)[0]
    regret = _regret(metric[None], key[None], score)[0]
    best = numpy.flatnonzero(key == key.max())
    row |= {
        "trials": float(trials),
        "regret": float(regret),
        "best_model": names[best[0]] if len(best) == 1 else None,
    }
    if draws.over is None:
        return row
    tail = (1 - confidence) / 2
    low, high = numpy.quantile(trials_to_best(draws.key, score), [tail, 1 - tail])
    regret_low, regret_high = ends(_regret(draws.value, draws.key, score), regret, confidence)
    return row | {
        "trials_low": float(min(low, trials)),
        "trials_high": float(max(high, trials)),
        "regret_low": float(regret_low),
        "regret_high": float(regret_high),
        "redrawn": draws.over,
    }


def _best(metric: numpy.ndarray, key: numpy.ndarray) -> numpy.ndarray:
    """Return the mean metric of the models with the highest key: (b, m), (b, m) -> (b)."""
    best = key == key.max(axis=1, keepdims=True)
    return (metric * best).sum(axis=1) / best.sum(axis=1)


def _regret(metric: numpy.ndarray, key: numpy.ndarray, score: numpy.ndarray) -> numpy.ndarray:
    """Return what the model scored first lacks to the one that choosing among all gives (b)."""
    return _best(metric, key) - metric[:, score == score.max()].mean(axis=1)


def _statistics(found: Agreement) -> dict[str, float | None]:
    row = {}
    for name in STATISTICS:
        row[name], row[f"{name}_low"], row[f"{name}_high"] = found.values[name]
    return row


def _gains(judged: Judged, draws: Redraws, selection: Selection) -> Iterator[dict[str, Any]]:
    tried = judged.tried
    metric, key, score = judged.metric[None, tried], judged.key[None, tried], judged.score[tried]
    spent = sum_of_first(judged.finetune_seconds[tried], score)
    expected = best_of_first(metric, score, key)[0]
    own = selection.reference_model
    if own is None:
        reference, redrawn_reference = numpy.median(metric), numpy.median(draws.value, axis=1)
    elif own in judged.models and tried[judged.models.index(own)]:
        place = int(tried[: judged.models.index(own)].sum())
        reference, redrawn_reference = metric[0, place], draws.value[:, place]
    else:
        reference = redrawn_reference = None
    best = float(_best(metric, key)[0])
    columns: dict[str, numpy.ndarray] = {}
    if draws.over is not None:
        redrawn = best_of_first(draws.value, score, draws.key)
        figures = ends(redrawn, expected, selection.confidence)
        columns["best_of_k_low"], columns["best_of_k_high"] = figures
        if reference is not None:
            gained = redrawn - redrawn_reference[:, None]
            figures = ends(gained, expected - reference, selection.confidence)
            columns["gain_low"], columns["gain_high"] = figures
    for k, (value, seconds) in enumerate(zip(expected, spent, strict=True), start=1):
        yield {
            "k": k,
            "best_of_k": float(value),
            "gain": None if reference is None else float(value - reference),
            "best_gain": None if reference is None else float(best - reference),
            "relative": float(value / best) if best > 0 else None,
            "redrawn": draws.over,
            "seconds": judged.score_seconds + float(seconds),
        } | {name: float(figures[k - 1]) for name, figures in columns.items()}
