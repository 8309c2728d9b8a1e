"""Properties of solutions (flatness, robustness, distance) judged beside the scores."""

from __future__ import annotations

from pathlib import Path

import polars

from xferpipe.aggregate.by_model import by_model
from xferpipe.aggregate.gather import table_of
from xferpipe.aggregate.partial import partial_correlations
from xferpipe.config.jobs import AggregateJob
from xferpipe.records import empty


def with_properties(scores: polars.DataFrame, folder: Path) -> polars.DataFrame:
    """Add the properties of each solution to the scores, on every target that is scored.

    Args:
        scores: Table `scores`.
        folder: Folder of the gathered tables.
    Returns:
        Rows of table `scores`; the same where no solution was probed.
    """
    probed = table_of("minimisers", folder).collect(engine="streaming")
    between = table_of("distances", folder).collect(engine="streaming")
    if not probed.height and not between.height:
        return scores
    from xferpipe.minimisers.predictors import property_rows

    ways = table_of("paths", folder).collect(engine="streaming")
    epochs = (
        table_of("epochs", folder)
        .filter(polars.col("stage") == "pretrain")
        .collect(engine="streaming")
    )
    targets = scores.select("target", "shots").unique(maintain_order=True).rows()
    return polars.concat([scores, property_rows(probed, between, ways, epochs, targets)])


def partials(
    job: AggregateJob, scores: polars.DataFrame, runs: polars.DataFrame, folder: Path
) -> polars.DataFrame:
    """Correlate scores with transfer, the accuracy on the source held fixed.

    Args:
        job: How scores are judged.
        scores: Table `scores`, properties included.
        runs: Rows of `oracle.oracle`.
        folder: Folder of the gathered tables.
    Returns:
        Table `partial_correlations`; empty for a study that probes no solution.
    """
    if not table_of("minimisers", folder).select(polars.len()).collect().item():
        return empty("partial_correlations")
    zoo = table_of("zoo", folder).collect()
    return partial_correlations(job.selection, scores, by_model(runs), zoo)
