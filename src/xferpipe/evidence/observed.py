"""What is observed of a race's runs: one row a run, with its outcome on every validation image."""

from __future__ import annotations

import polars

from xferpipe.records.judged import judged, judged_by_class

_LIST = polars.List(polars.Float64)
_RUN = ["model", "recipe", "seed"]


def observed_runs(
    finetunes: polars.DataFrame, predictions: polars.DataFrame, queries: polars.DataFrame
) -> polars.DataFrame:
    """Join the figures that runs are judged by with their outcomes, image by image.

    Args:
        finetunes: Rows of table `finetunes` of one target and shots.
        predictions: Rows of table `predictions` of those runs.
        queries: Rows of table `validation_queries` of those runs.
    Returns:
        One row a run, in the order of `finetunes`: model, recipe, seed, status, validation (the
        figure of the validation split that the target is judged by; null where the run diverged),
        images (how many validation images or queries), outcomes (List[Float64]: 1 for each image
        that was classified right and 0 for the others, or what it adds to the mean recall, or each
        query's average precision; in one order for all runs), groups (List[Int64]: the identity
        of each query; null for classes), seconds. Images and outcomes are null where there are
        none, and outcomes too where the runs were not validated on the same images.
    """
    answers = predictions.filter(polars.col("split") == "validation").select(
        *_RUN, "row", "label", right=(polars.col("label") == polars.col("predicted"))
    )
    by_class = not finetunes.filter(judged_by_class()).is_empty()
    right = answers.select(
        *_RUN,
        "row",
        outcome=_share_of_recall() if by_class else polars.col("right").cast(polars.Float64),
        group=polars.lit(None, polars.Int64),
    )
    precision = queries.drop_nulls("ap").select(
        *_RUN, "row", outcome="ap", group=polars.col("identity").cast(polars.Int64)
    )
    outcomes = (
        polars.concat([right, precision])
        .sort(*_RUN, "row")
        .group_by(_RUN, maintain_order=True)
        .agg(outcomes="outcome", groups="group", rows="row")
    )
    paired = outcomes["rows"].n_unique() <= 1
    known = paired and outcomes["groups"].explode().null_count() == 0
    return (
        finetunes.with_columns(validation=judged("validation"))
        .join(outcomes, on=_RUN, how="left", maintain_order="left")
        .select(
            *_RUN,
            "status",
            "validation",
            images=polars.col("outcomes").list.len().cast(polars.Int64),
            outcomes=polars.col("outcomes") if paired else polars.lit(None, _LIST),
            groups=polars.col("groups") if known else polars.lit(None, polars.List(polars.Int64)),
            seconds="seconds",
        )
    )


def _share_of_recall() -> polars.Expr:
    """Return what each image adds to the mean recall of the classes, n times its influence.

    Their mean over the images is the mean recall, and their variance over n is that of the mean
    recall: an image of a rare class counts for more.
    """
    right, of_class = polars.col("right").cast(polars.Float64), [*_RUN, "label"]
    recall, size = right.mean().over(of_class), polars.len().over(of_class)
    classes, images = polars.col("label").n_unique().over(_RUN), polars.len().over(_RUN)
    weight = images / (classes * size)
    return (recall * weight).mean().over(_RUN) + (right - recall) * weight
