"""Does the linearised loss curve predict how many epochs fine-tuning takes?"""

from __future__ import annotations

from pathlib import Path

import polars

from xferpipe.aggregate.by_model import BEST, BEST_ON_TEST
from xferpipe.aggregate.gather import table_of
from xferpipe.aggregate.selection import selection_and_gains
from xferpipe.config.study import Selection

_RUN = ["target", "shots", "model", "recipe", "seed"]


def speed_runs(selection: Selection, folder: Path) -> polars.DataFrame:
    """Return every fine-tune with the negated epochs that it took.

    Args:
        selection: Holds the training accuracy whose first epoch counts.
        folder: Folder of the gathered tables.
    Returns:
        Rows as `oracle.oracle` returns them, with metric `speed` and minus the first epoch as
        value; a run that never gets there counts one epoch more than it has.
    """
    reached = polars.col("train_accuracy") >= selection.speed_train_accuracy
    return (
        table_of("epochs", folder)
        .filter(polars.col("stage") == "finetune")
        .group_by(_RUN)
        .agg(
            first=polars.col("epoch").filter(reached).min(),
            last=polars.col("epoch").max(),
        )
        .select(
            *_RUN,
            metric=polars.lit("speed"),
            value=-polars.coalesce("first", polars.col("last") + 1).cast(polars.Float64),
            validation=polars.lit(None, polars.Float64),
            seconds=polars.lit(None, polars.Float64),
        )
        .collect(engine="streaming")
        .sort(_RUN)
    )


def speed_selection(
    selection: Selection, runs: polars.DataFrame, scores: polars.DataFrame, seed: int
) -> polars.DataFrame:
    """Correlate LGC and its linearised figures with the epochs that fine-tuning took.

    Args:
        selection: How scores are judged.
        runs: Rows of `speed_runs`.
        scores: Table `scores`.
        seed: Seed of the study.
    Returns:
        Rows of table `selection` with metric `speed`; what is said in accuracy is null there.
    """
    own = scores.filter(polars.col("method") == "lgc")
    if not own.height:
        runs = runs.clear()
    table, _ = selection_and_gains(selection, runs, own, seed)
    return table.filter(
        polars.col("method") != "random", ~polars.col("recipe").is_in([BEST, BEST_ON_TEST])
    ).with_columns(
        polars.lit(None, table.schema[name]).alias(name)
        for name in table.columns
        if name in ("seconds", "redrawn", "chosen_on") or name.startswith(("trials", "regret"))
    )
