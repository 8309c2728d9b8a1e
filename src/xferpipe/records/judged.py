"""The figure that a fine-tune is judged by, from the columns of table `finetunes`."""

from __future__ import annotations

import polars

from xferpipe.config.study import CLASSIFICATION_METRICS, METRICS


def judged(split: str) -> polars.Expr:
    """Return the figure that a row of table `finetunes` is judged by.

    Args:
        split: validation or test; mAP of the test split is in table `retrieval`, so null here.
    """
    names = METRICS if split == "validation" else CLASSIFICATION_METRICS
    return polars.coalesce(
        polars.when(polars.col("judged_by") == name).then(f"{split}_{name}") for name in names
    )


def judged_by_class() -> polars.Expr:
    """Return whether a run of table `finetunes` is judged by a mean over classes.

    Macro-F1 is taken to vary over images as the mean recall does.
    """
    return polars.col("judged_by").is_in(["balanced_accuracy", "macro_f1"])
