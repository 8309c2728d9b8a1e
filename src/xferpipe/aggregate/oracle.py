"""The oracle: how well each model fine-tuned, which is what scores should have said before."""

from __future__ import annotations

from pathlib import Path

import polars

from xferpipe.aggregate.gather import table_of
from xferpipe.config.study import METRICS, Selection
from xferpipe.records import UNREADABLE
from xferpipe.records.judged import judged

_RUN = ["target", "shots", "model", "recipe", "seed"]


def oracle(selection: Selection, folder: Path) -> polars.DataFrame:
    """Return every finished run with the figure it is judged by.

    A retrieval target is judged by mAP before re-ranking, any other on the test split by what its
    rows name in `judged_by`. Results of the user's own (`selection.own_results`) count as further
    runs.

    Args:
        selection: How scores are judged.
        folder: Folder of the gathered tables.
    Returns:
        target, shots, model, recipe, seed, metric (one of `METRICS`), value (fraction),
        validation (fraction or null), seconds.
    Raises:
        ValueError: The user's own results cannot be read, or judge a target by another metric than
            its runs.
    """
    finished = table_of("finetunes", folder).filter(polars.col("status") == "finished")
    classified = finished.filter(polars.col("task") == "classification").select(
        *_RUN,
        metric="judged_by",
        value=judged("test"),
        validation=judged("validation"),
        seconds="seconds",
    )
    runs = finished.select(*_RUN, "validation_map", "seconds")
    retrieved = (
        table_of("retrieval", folder)
        .filter(~polars.col("reranked"))
        .select(*_RUN, "map", evaluation="seconds")
        .join(runs, on=_RUN, how="left")
        .select(
            *_RUN,
            metric=polars.lit("map"),
            value="map",
            validation="validation_map",
            seconds=polars.col("seconds").fill_null(0) + polars.col("evaluation").fill_null(0),
        )
    )
    found = polars.concat([classified, retrieved]).collect(engine="streaming")
    if selection.own_results is not None:
        own = own_results(selection.own_results)
        _same_metric(selection.own_results, own, found)
        found = polars.concat([found, own])
    return found.filter(polars.col("value").is_finite()).sort(_RUN)


def _same_metric(path: Path, own: polars.DataFrame, ours: polars.DataFrame) -> None:
    """Refuse own results in another metric than the runs of the same target have."""
    judged = ours.select("target", ours="metric").unique()
    # A target that the study itself judges twice is compared within each metric.
    known = judged.filter(polars.len().over("target") == 1)
    other = own.join(known, on="target").filter(polars.col("metric") != polars.col("ours"))
    if other.height:
        row = other.row(0, named=True)
        raise ValueError(
            f"{path}: gives {row['metric']} for target {row['target']!r}, whose runs are judged by "
            f"{row['ours']}; expected the same: give {row['ours']}, or remove the target's rows"
        )


def own_results(path: Path) -> polars.DataFrame:
    """Read fine-tuning results that a user already has.

    Args:
        path: CSV or Parquet with columns target, model and one or more of `METRICS` (fractions);
            shots (default full), recipe (default own), seed (default 0), validation and seconds
            may be there.
    Returns:
        Rows as `oracle` returns them.
    Raises:
        ValueError: It cannot be read, a column is missing, a name is empty, a value is no
            fraction, seconds are below 0, a run is there twice, or a target has several metrics.
    """
    read = polars.read_csv if path.suffix == ".csv" else polars.read_parquet
    try:
        data = read(path, glob=False)
    except UNREADABLE as error:
        words = str(error).splitlines()[0]
        raise ValueError(f"{path}: cannot be read ({words})") from None
    figures = [name for name in METRICS if name in data.columns]
    if not {"target", "model"} <= set(data.columns) or not figures:
        raise ValueError(
            f"{path}: has columns {', '.join(data.columns)}; expected target, model and one of "
            f"{', '.join(METRICS)} (fractions), and, where known, shots, recipe, seed, validation, "
            "seconds"
        )
    defaults = {
        "shots": polars.lit("full"),
        "recipe": polars.lit("own"),
        "seed": polars.lit(0),
        "validation": polars.lit(None, polars.Float64),
        "seconds": polars.lit(None, polars.Float64),
    }
    data = data.with_columns(
        **{name: value for name, value in defaults.items() if name not in data.columns}
    )
    try:
        long = polars.concat(
            data.select(
                polars.col("target", "shots", "model", "recipe").cast(polars.String),
                polars.col("seed").cast(polars.Int64),
                metric=polars.lit(figure),
                value=polars.col(figure).cast(polars.Float64),
                validation=polars.col("validation").cast(polars.Float64),
                seconds=polars.col("seconds").cast(polars.Float64),
            ).filter(polars.col("value").is_not_null())
            for figure in figures
        )
    except polars.exceptions.InvalidOperationError as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}; expected a number") from None
    _refuse_impossible(path, long)
    mixed = long.filter(polars.col("metric").n_unique().over("target") > 1)
    if mixed.height:
        target = mixed["target"][0]
        both = " and ".join(mixed.filter(target=target)["metric"].unique(maintain_order=True))
        raise ValueError(
            f"{path}: target {target!r} has {both}; expected one of them for all models of a "
            "target: split the rows over two targets, or remove one"
        )
    return long


def _refuse_impossible(path: Path, rows: polars.DataFrame) -> None:
    """Refuse rows without a name, with figures that are none, and runs that are there twice."""
    for name in ("target", "model", "recipe"):
        if rows[name].null_count() or (rows[name].str.strip_chars() == "").any():
            raise ValueError(f"{path}: a row has no {name}; give it, or remove the row")
    for name in ("value", "validation"):
        wrong = rows.filter(~polars.col(name).is_between(0, 1))
        if wrong.height:
            called = wrong["metric"][0] if name == "value" else name
            raise ValueError(f"{path}: {called} {wrong[name][0]} is no fraction in 0..1")
    wrong = rows.filter(~((polars.col("seconds") >= 0) & polars.col("seconds").is_finite()))
    if wrong.height:
        raise ValueError(f"{path}: seconds {wrong['seconds'][0]}; expected 0 or more, or nothing")
    twice = rows.filter(polars.struct(*_RUN, "metric").is_duplicated())
    if twice.height:
        run = ", ".join(f"{name} {twice[name][0]}" for name in _RUN)
        raise ValueError(
            f"{path}: {run} is there twice; give each run a seed of its own (column seed), or "
            "remove a row"
        )
