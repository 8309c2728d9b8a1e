"""What the fine-tunes came to: one figure per model and recipe, and one answer per target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import polars

from xferpipe.aggregate.by_model import comparable, with_key
from xferpipe.aggregate.oracle import judged, own_results
from xferpipe.report.evidence import Evidence
from xferpipe.seeding import numpy_generator

#: Redraws of the seed noise behind "best in so many of the redraws".
REDRAWS = 20_000
#: From these shares of the redraws on, the first model counts as clear or likely.
CLEAR, LIKELY = 0.95, 0.8

_SHAPE = {
    "target": polars.String,
    "shots": polars.String,
    "place": polars.String,
    "model": polars.String,
    "recipe": polars.String,
    "seed": polars.Int64,
    "metric": polars.String,
    "value": polars.Float64,
    "validation": polars.Float64,
    "validation_images": polars.Int64,
}


def runs(evidence: Evidence) -> polars.DataFrame:
    """Return the finished runs with the one figure each is judged by, the user's own included.

    Args:
        evidence: The study's tables.
    Returns:
        Columns target, shots, place, model, recipe, seed, metric (one of `METRICS`), value and
        validation, both fractions, and validation_images (count; null for the user's own runs);
        `validation` is null where nothing was held out to choose on.
    """
    key = ["target", "shots", "model", "recipe", "seed"]
    finished = evidence["finetunes"].filter(polars.col("status") == "finished")
    retrieval = (
        evidence["retrieval"].filter(~polars.col("reranked")).group_by(key).agg(polars.mean("map"))
    )
    ranked = polars.col("task") == "retrieval"
    ours = (
        evidence.with_place(finished)
        .join(retrieval, on=key, how="left")
        .with_columns(
            metric="judged_by",
            value=polars.when(ranked).then("map").otherwise(judged("test")),
            validation=polars.when(ranked).then("validation_map").otherwise(judged("validation")),
        )
        .filter(polars.col("value").is_finite())
        .select(list(_SHAPE))
        .cast(_SHAPE)
    )
    if evidence.job.selection.own_results is None:
        return ours
    theirs = evidence.with_place(own_results(evidence.job.selection.own_results))
    theirs = theirs.with_columns(validation_images=None)
    return polars.concat([ours, theirs.select(list(_SHAPE)).cast(_SHAPE)])


def outcomes(evidence: Evidence) -> polars.DataFrame:
    """Return one row per target, shots, model and recipe: its runs' mean and spread.

    Args:
        evidence: The study's tables.
    Returns:
        Columns of `runs` without seed, with seeds (count), spread (sample standard deviation; null
        for one run), low and high (the runs' range), chosen_on and chosen (what a choice reads, as
        in `aggregate.by_model.with_key`), and first (the model's best recipe by `chosen`, of those
        that models are compared over, see `aggregate.by_model.comparable`).
    """
    by = ["target", "shots", "place", "model", "recipe", "metric"]
    here = ["target", "shots"]
    grouped = (
        runs(evidence)
        .group_by(by, maintain_order=True)
        .agg(
            seeds=polars.len(),
            spread=polars.std("value"),
            low=polars.min("value"),
            high=polars.max("value"),
            value=polars.mean("value"),
            validation=polars.mean("validation"),
        )
    )
    data = with_key(grouped, here)
    best = (
        comparable(data, here)
        .sort("key", descending=True, maintain_order=True)
        .unique([*here, "model"], keep="first", maintain_order=True)
        .select(*by, first=True)
    )
    return (
        data.rename({"key": "chosen"})
        .join(best, on=by, how="left", maintain_order="left")
        .with_columns(polars.col("first").fill_null(value=False))
        .sort(
            [*here, "chosen"],
            descending=[False, False, True],
            nulls_last=True,
            maintain_order=True,
        )
    )


@dataclass(frozen=True)
class Answer:
    """What to fine-tune for one target, and how sure that is."""

    place: str
    target: str
    shots: str
    sureness: str
    metric: str = ""
    model: str = ""
    recipe: str = ""
    value: float = float("nan")
    spread: float | None = None
    seeds: int = 0
    models: int = 0
    probability: float | None = None
    runner_up: str = ""
    margin: float | None = None
    chosen_on: str = ""
    reason: str = ""
    hint: str = ""


def answers(evidence: Evidence, places: Sequence[tuple[str, str]] | None = None) -> list[Answer]:
    """Return the answer for some (target, shots) of the study; unset: for all."""
    table = outcomes(evidence)
    wanted = evidence.places() if places is None else places
    return [_answer(evidence, table, *place) for place in wanted]


def _answer(evidence: Evidence, table: polars.DataFrame, target: str, shots: str) -> Answer:
    place = evidence.label(target, shots)
    here = (polars.col("target") == target) & (polars.col("shots") == shots)
    best = table.filter(here & polars.col("first")).sort(
        "chosen", descending=True, maintain_order=True
    )
    if best.is_empty():
        return Answer(
            place,
            target,
            shots,
            "none",
            reason=_why_nothing(evidence.tables["finetunes"].filter(here)),
            hint=_by_score(evidence.tables["scores"].filter(here)),
        )
    row = best.row(0, named=True)
    probability = share_best(best, target, shots)
    if best.height == 1:
        sureness = "alone"
    elif probability is None:
        sureness = "single"
    elif probability >= CLEAR:
        sureness = "clear"
    else:
        sureness = "likely" if probability >= LIKELY else "open"
    others = best[1:].sort("value", descending=True, maintain_order=True)
    rival = others.row(0, named=True) if others.height else None
    return Answer(
        place,
        target,
        shots,
        sureness,
        metric=row["metric"],
        model=row["model"],
        recipe=row["recipe"],
        value=row["value"],
        spread=row["spread"],
        seeds=row["seeds"],
        models=best.height,
        probability=probability,
        runner_up=rival["model"] if rival else "",
        margin=row["value"] - rival["value"] if rival else None,
        chosen_on=row["chosen_on"],
    )


def share_best(best: polars.DataFrame, *names: str) -> float | None:
    """Return how often the first model stays the best when the seed noise is drawn again.

    The noise is one standard deviation pooled over the models' repeated runs; each redraw takes
    every model's mean from a Student distribution with the pooled degrees of freedom. The noise of
    which images were tested is not in it.

    Args:
        best: One row per model with value (fraction), spread (fraction or null) and seeds (count);
            the model in question first.
        names: Name of the random stream.
    Returns:
        A fraction, or None where no model was run twice.
    """
    seeds = best["seeds"].to_numpy()
    freedom = int((seeds - 1).sum())
    if freedom == 0:
        return None
    spread = best["spread"].fill_null(0.0).to_numpy()
    pooled = float(numpy.sqrt(((seeds - 1) * spread**2).sum() / freedom))
    draw = numpy_generator(0, "report", *names).standard_t(freedom, (REDRAWS, len(seeds)))
    values = best["value"].to_numpy() + pooled / numpy.sqrt(seeds) * draw
    return float((values.argmax(axis=1) == 0).mean())


def _why_nothing(finetunes: polars.DataFrame) -> str:
    if finetunes.is_empty():
        return "no model was fine-tuned on it"
    diverged = finetunes.filter(polars.col("status") == "diverged").height
    if diverged == finetunes.height:
        return f"every fine-tune diverged ({diverged} of {diverged}): try a lower learning rate"
    return "its fine-tunes have no test figure"


def _by_score(scores: polars.DataFrame) -> str:
    """Say which model most of the scores put first; a guess, and called so where it is shown."""
    first = scores.filter(
        polars.col("value").is_not_null()
        & (polars.col("value") == polars.max("value").over("method", "variant"))
    )
    if first.is_empty():
        return ""
    votes = first["model"].value_counts(sort=True)
    methods = first.select("method", "variant").n_unique()
    return f"{votes['count'][0]} of {methods} scores put {votes['model'][0]} first"
