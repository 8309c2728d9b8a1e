"""Our figures of what others printed: one for each quantity that a study may set beside ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars

from xferpipe.config.report import Published, PublishedOrder
from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes
from xferpipe.report.stand_in_notes import of_figure

_RUN = ["target", "shots", "model", "recipe"]


def published_table(evidence: Evidence) -> polars.DataFrame:
    """Return one row per published figure, ours beside it, null where it was not run.

    Returns:
        Columns table (title), quantity, target, shots, model, against, recipe, method, variant,
        published and ours (in the quantity's unit), difference (ours - published), metric, seeds
        and spread (of fine-tunes; sample standard deviation), rank1 (fraction; retrieval alone),
        comparable (words) and stand_ins (words: what ours is of in place of the published; null
        where there is nothing, or nothing was run).
    """
    text, number = polars.String, polars.Float64
    names = ("target", "shots", "model", "against", "recipe", "method", "variant")
    schema = {"table": text, "quantity": text} | dict.fromkeys(names, text)
    schema |= {"published": number, "ours": number, "metric": text, "seeds": polars.Int64}
    schema |= {"spread": number, "rank1": number, "comparable": text}
    schema["stand_ins"] = text
    rows = []
    for table in evidence.job.report.published:
        measure = _MEASURES[table.quantity](evidence)
        for figure in table.figures:
            measured = _measured(measure, figure)
            parts = [] if measured.get("ours") is None else of_figure(evidence, table, figure)
            rows.append(
                {"table": table.title, "quantity": table.quantity, "published": figure.value}
                | {name: getattr(figure, name) for name in names}
                | {"shots": str(figure.shots), "comparable": table.comparable}
                | {"stand_ins": "; ".join(parts) or None}
                | measured
            )
    data = polars.DataFrame(rows, schema=schema)
    difference = (data["ours"] - data["published"]).alias("difference")
    return data.insert_column(data.get_column_index("ours") + 1, difference)


Measure = Callable[[Published, str | None], dict[str, Any]]


def _measured(measure: Measure, figure: Published) -> dict[str, Any]:
    """Measure a figure, or the difference of two models; nothing where one was not run."""
    own = measure(figure, figure.model)
    if figure.against is None or own.get("ours") is None:
        return own
    other = measure(figure, figure.against)
    if other.get("ours") is None:
        return {}
    return own | {"ours": own["ours"] - other["ours"], "spread": None, "rank1": None}


def _finetuned(evidence: Evidence) -> Measure:
    by = {tuple(row[name] for name in _RUN): row for row in outcomes(evidence).to_dicts()}
    ranked = evidence["retrieval"].filter(~polars.col("reranked"))
    rank1 = {row[:4]: row[4] for row in ranked.group_by(_RUN).agg(polars.mean("rank1")).rows()}

    def measure(figure: Published, model: str | None) -> dict[str, Any]:
        key = (figure.target, str(figure.shots), model, figure.recipe)
        row = by.get(key, {})
        found = {name: row.get(name) for name in ("metric", "seeds", "spread")}
        return found | {"ours": row.get("value"), "rank1": rank1.get(key)}

    return measure


def run_speeds(evidence: Evidence) -> polars.DataFrame:
    """Return how many epochs each fine-tune took and how far it moved the weights.

    Returns:
        Columns target, shots, model, recipe, seed, epochs (first epoch at the study's
        `speed_train_accuracy`; null where the run never got there), shown (the same, else the last
        epoch), distance and distance_without_normalisation (from the initial weights, last epoch).
    """
    reached = polars.col("train_accuracy") >= evidence.job.selection.speed_train_accuracy
    return (
        evidence["epochs"]
        .filter(polars.col("stage") == "finetune")
        .sort("epoch", maintain_order=True)
        .group_by([*_RUN, "seed"], maintain_order=True)
        .agg(
            epochs=polars.col("epoch").filter(reached).first(),
            shown=polars.coalesce(
                polars.col("epoch").filter(reached).first(), polars.col("epoch").last()
            ),
            distance=polars.last("distance"),
            distance_without_normalisation=polars.last("distance_without_normalisation"),
        )
    )


def finetuned_distances(evidence: Evidence) -> polars.DataFrame:
    """Return how far each run's weights ended from the initial ones: means over seeds."""
    return (
        run_speeds(evidence)
        .group_by(_RUN, maintain_order=True)
        .agg(value=polars.mean("distance"), spread=polars.std("distance"), seeds=polars.len())
    )


def _finetuned_epochs(evidence: Evidence) -> polars.DataFrame:
    """Return epochs to the study's training accuracy; null where a run never got there."""
    every = polars.col("epochs").is_not_null().all()
    return (
        run_speeds(evidence)
        .group_by(_RUN, maintain_order=True)
        .agg(
            value=polars.when(every).then(polars.mean("epochs")),
            spread=polars.when(every).then(polars.std("epochs")),
            seeds=polars.len(),
        )
    )


def _of_runs(data: polars.DataFrame) -> Measure:
    by = {tuple(row[name] for name in _RUN): row for row in data.to_dicts()}

    def measure(figure: Published, model: str | None) -> dict[str, Any]:
        row = by.get((figure.target, str(figure.shots), model, figure.recipe), {})
        return {"ours": row.get("value"), "spread": row.get("spread"), "seeds": row.get("seeds")}

    return measure


def _of_models(values: dict[str, float]) -> Measure:
    return lambda figure, model: {"ours": values.get(model or "")}


def source_accuracies(evidence: Evidence) -> dict[str, float]:
    """Return each model's accuracy on its source's test split."""
    rows = evidence["zoo"].select("model", "source_accuracy").drop_nulls().rows()
    return dict(rows)


def _source_losses(evidence: Evidence) -> dict[str, float]:
    rows = evidence["minimisers"].filter(
        polars.col("value").is_finite(),
        phase="pretrained",
        probe="clean",
        split="test",
        measure="loss",
    )
    return dict(rows.select("model", "value").rows())


def _distance_over_norm(evidence: Evidence) -> Measure:
    pairs = evidence["distances"].filter("normalisation")
    norms = (polars.col("norm_first") + polars.col("norm_second")) / 2
    mean = pairs.select((polars.col("distance") / norms).mean()).item() if pairs.height else None
    return lambda figure, model: {"ours": mean}


def _shares(evidence: Evidence, *, of_scoring: bool) -> Measure:
    """Return seconds over those of fine-tuning every model, means over targets."""
    place = ["target", "shots", "method", "variant"]
    scoring = evidence.judged("selection").select(*place, scoring="seconds")
    spent = (
        evidence.judged("gains")
        .sort("k")
        .group_by(place, maintain_order=True)
        .agg(
            first_3=polars.col("seconds").filter(polars.col("k") == 3).first(),
            every=polars.last("seconds"),
        )
        .join(scoring, on=place)
    )
    scored = polars.col("scoring")
    part = scored if of_scoring else polars.col("first_3") - scored
    means = (
        spent.with_columns(share=part / (polars.col("every") - scored))
        .filter(polars.col("share").is_finite())
        .group_by("shots", "method", "variant")
        .agg(polars.mean("share"))
    )
    by = {row[:3]: row[3] for row in means.rows()}
    return lambda figure, model: {
        "ours": by.get((str(figure.shots), figure.method, figure.variant))
    }


_MEASURES: dict[str, Callable[[Evidence], Measure]] = {
    "finetuned": _finetuned,
    "finetuned_distance": lambda evidence: _of_runs(finetuned_distances(evidence)),
    "finetuned_epochs": lambda evidence: _of_runs(_finetuned_epochs(evidence)),
    "source_accuracy": lambda evidence: _of_models(source_accuracies(evidence)),
    "source_error": lambda evidence: _of_models(
        {model: 1 - accuracy for model, accuracy in source_accuracies(evidence).items()}
    ),
    "source_loss": lambda evidence: _of_models(_source_losses(evidence)),
    "distance_over_norm": _distance_over_norm,
    "scoring_share": lambda evidence: _shares(evidence, of_scoring=True),
    "top_3_share": lambda evidence: _shares(evidence, of_scoring=False),
}


def orders_table(evidence: Evidence) -> polars.DataFrame:
    """Return one row per published order and place where ours can be read.

    Returns:
        Columns finding, property, at (intensity, or target), printed and ours (models in words,
        best first), agreeing and pairs (counts of pairs that the printed order tells apart and
        that were both run here), and share (agreeing / pairs). A tie of ours does not agree.
    """
    rows = [
        row
        for order in evidence.job.report.orders
        for place, values in _ordered_values(evidence, order).items()
        if (row := _agreement(order, place, values)) is not None
    ]
    text, count = polars.String, polars.Int64
    schema = dict.fromkeys(("finding", "property", "at", "printed", "ours"), text)
    schema |= {"agreeing": count, "pairs": count, "share": polars.Float64}
    return polars.DataFrame(rows, schema=schema)


def _agreement(
    order: PublishedOrder, place: str, values: dict[str, float]
) -> dict[str, Any] | None:
    """Count the pairs of the printed order that ours has the same way round; higher is better."""
    groups = order.groups()
    pairs = [
        (better, worse)
        for i, group in enumerate(groups)
        for later in groups[i + 1 :]
        for better in group
        for worse in later
        if better in values and worse in values
    ]
    if not pairs:
        return None
    agreeing = sum(values[better] > values[worse] for better, worse in pairs)
    known = [name for group in groups for name in group if name in values]
    return {
        "finding": order.finding,
        "property": order.property,
        "at": place,
        "printed": " > ".join(", ".join(group) for group in groups),
        "ours": " > ".join(sorted(known, key=lambda name: -values[name])),
        "agreeing": agreeing,
        "pairs": len(pairs),
        "share": agreeing / len(pairs),
    }


def _ordered_values(evidence: Evidence, order: PublishedOrder) -> dict[str, dict[str, float]]:
    """Return, for each place, what orders the models; higher is better, so less is negative."""
    name = order.property
    if name == "source_accuracy":
        return {"source": source_accuracies(evidence)}
    if name == "train_loss":
        last = evidence["epochs"].filter(polars.col("stage") == "pretrain").sort("epoch")
        rows = last.group_by("model").last().select("model", -polars.col("train_loss"))
        return {"source": dict(rows.drop_nulls().rows())}
    if name.startswith("finetuned"):
        data = outcomes(evidence)
        if name == "finetuned_distance":
            data = evidence.with_place(finetuned_distances(evidence))
            data = data.with_columns(value=-polars.col("value"))
        return _by(data.filter(recipe=order.recipe), "place")
    probe, sign = name.split("_")[0], 1
    measure = "accuracy"
    if name == "local_energy":
        probe, sign, measure = "energy", -1, "loss"
    data = evidence["minimisers"].filter(
        phase="pretrained", split="test", probe=probe, measure=measure
    )
    at = polars.col("intensity").map_elements(lambda x: f"{x:g}", return_dtype=polars.String)
    return _by(data.with_columns(at=at, value=sign * polars.col("value")), "at")


def _by(data: polars.DataFrame, place: str) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for at, model, value in data.select(place, "model", "value").drop_nulls().rows():
        values.setdefault(at, {})[model] = value
    return values
