"""What the runs of one target and shots measured, as `evidence.answers` takes it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars

from xferpipe.aggregate.gather import table_of
from xferpipe.aggregate.oracle import oracle
from xferpipe.config.study import Selection
from xferpipe.evidence.observations import noise_ratio
from xferpipe.evidence.observed import observed_runs
from xferpipe.records.judged import judged_by_class

_PLACE = ["target", "shots"]
_KEY = ["model", "recipe", "seed"]
_RUN = [*_PLACE, *_KEY]


class Measured(NamedTuple):
    """The runs of one place.

    Attributes:
        runs: As `evidence.answers.answer_for` takes them.
        metric: What they are judged by; None without a run.
        chosen_on: Split that choices read: validation, or test where no run was validated.
    """

    runs: polars.DataFrame
    metric: str | None
    chosen_on: str | None


def shown_figures(folder: Path) -> polars.DataFrame:
    """Return the test figure of every finished run, and how many images it has the noise of.

    A mean of average precisions varies less than one of right and wrong, unless the queries of an
    identity are alike; the mean recall of classes, some of them rare, varies more.
    `effective_images` is the number of single answers, right or wrong, that would vary as much.

    Args:
        folder: Folder of the gathered tables.
    Returns:
        target, shots, model, recipe, seed, test (fraction), test_images, effective_images.
    """
    finetunes, recalls = table_of("finetunes", folder), table_of("class_recalls", folder)
    classes = (
        recalls.filter(polars.col("split") == "test", polars.col("images") > 0)
        .group_by(_RUN)
        .agg(
            share=polars.col("recall").mean(),
            variance=(
                polars.col("recall") * (1 - polars.col("recall")) / polars.col("images")
            ).sum()
            / polars.len() ** 2,
        )
    )
    classified = (
        finetunes.filter(polars.col("task") == "classification")
        .join(classes, on=_RUN, how="left")
        .select(
            *_RUN,
            "test_images",
            effective_images=polars.when(judged_by_class() & (polars.col("variance") > 0))
            .then(_answers())
            .otherwise(polars.col("test_images").cast(polars.Float64)),
        )
    )
    share, groups = polars.col("share"), polars.col("groups")
    ranked = (
        table_of("retrieval_queries", folder)
        .filter(~polars.col("reranked"), polars.col("ap").is_not_null())
        .group_by(*_RUN, "query", "identity")
        .agg(polars.col("ap").mean())
        .with_columns(off=polars.col("ap") - polars.col("ap").mean().over(_RUN))
        .group_by(*_RUN, "identity")
        .agg(polars.len(), polars.col("ap").sum(), polars.col("off").sum())
        .group_by(_RUN)
        .agg(
            test_images=polars.col("len").sum().cast(polars.Int64),
            groups=polars.len(),
            share=polars.col("ap").sum() / polars.col("len").sum(),
            squares=polars.col("off").pow(2).sum() / polars.col("len").sum() ** 2,
        )
        .select(
            *_RUN,
            "test_images",
            effective_images=polars.when(share.is_between(0, 1, "none"))
            .then(1 / noise_ratio(polars.col("squares") / (share * (1 - share)), groups))
            .otherwise(groups.cast(polars.Float64)),
        )
    )
    images = polars.concat([classified, ranked]).collect(engine="streaming")
    figures = oracle(Selection(), folder).select(*_RUN, test="value")
    return figures.join(images, on=_RUN, how="left", maintain_order="left")


def _answers() -> polars.Expr:
    return polars.col("share") * (1 - polars.col("share")) / polars.col("variance")


def measured(
    folder: Path, target: str, shots: str, tests: polars.DataFrame, own: polars.DataFrame | None
) -> Measured:
    """Return the runs of one target and shots.

    Args:
        folder: Folder of the gathered tables.
        target: Target.
        shots: Training images per class, or `full`.
        tests: As `shown_figures` returns it.
        own: The user's own results, as `oracle.own_results` returns them.
    """
    here = {"target": target, "shots": shots}
    finetunes = _rows("finetunes", folder, **here)
    # Of single images only the columns that are read: they are most of all rows.
    shown = ("split", "row", "label", "predicted")
    runs = observed_runs(
        finetunes,
        _rows("predictions", folder, shown, split="validation", **here),
        _rows("validation_queries", folder, ("row", "identity", "ap"), **here),
    )
    metric = finetunes["judged_by"].drop_nulls().first() if finetunes.height else None
    if own is not None:
        own = own.filter(target=target, shots=shots)
        metric = metric or own["metric"].first()
        own = own.filter(polars.col("metric") == polars.lit(metric, polars.String))
    validated = [runs["validation"], *([] if own is None else [own["validation"]])]
    on_test = not any(column.drop_nulls().len() for column in validated)
    if on_test and finetunes.height:
        runs = observed_runs(
            finetunes,
            _rows("predictions", folder, shown, split="test", **here).with_columns(
                split=polars.lit("validation")
            ),
            _rows("retrieval_queries", folder, ("query", "identity", "ap"), reranked=False, **here)
            .group_by(*_KEY, "identity", row="query")
            .agg(polars.col("ap").mean()),
        )
    about = finetunes.select(*_KEY, "validation_images")
    runs = (
        runs.join(about, on=_KEY, how="left", maintain_order="left")
        .join(tests.filter(**here).drop(_PLACE), on=_KEY, how="left", maintain_order="left")
        .with_columns(
            images=polars.coalesce("images", "test_images" if on_test else "validation_images"),
            validation="test" if on_test else "validation",
        )
        .drop("validation_images")
    )
    if own is not None:
        theirs = own.select(
            *_KEY,
            status=polars.lit("finished"),
            validation="value" if on_test else "validation",
            seconds="seconds",
            test="value",
        )
        runs = polars.concat([runs, theirs], how="diagonal")
    return Measured(runs, metric, None if metric is None else "test" if on_test else "validation")


def _rows(
    table: str, folder: Path, columns: tuple[str, ...] | None = None, **values: object
) -> polars.DataFrame:
    """Return the rows of a table with some values; of its columns those named, and the run's."""
    rows = table_of(table, folder).filter(**values)
    if columns is not None:
        rows = rows.select(*_KEY, *columns)
    return rows.collect(engine="streaming")
