"""Some classes of a data set in the place of all: named, or drawn by a seed."""

from __future__ import annotations

import sys

import polars

from xferpipe.config.datasets import RandomClasses
from xferpipe.config.nearest import suggestion
from xferpipe.datasets.checks import DatasetError, listed
from xferpipe.seeding import numpy_generator


def of_classes(
    rows: polars.DataFrame, classes: tuple[str, ...] | RandomClasses | None, *, where: str
) -> polars.DataFrame:
    """Keep the images of some classes and number these anew.

    Args:
        rows: What a reader found; `split` may be null.
        classes: Names in label order; or how many to draw, which are numbered in the order of
            their names. The draw depends on the names of all classes and its own seed alone: a
            smaller one is part of a larger. None keeps the rows as they are.
        where: Names the data set in messages.
    Returns:
        The rows of these classes.
    Raises:
        DatasetError: A class does not exist, there are fewer than asked for, or the data set is
            one of query and gallery.
    """
    if classes is None:
        return rows
    if set(rows["split"].unique()) & {"query", "gallery"}:
        raise DatasetError(
            f"{where}: 'classes' cuts classes, and this data set has identities in query and "
            "gallery; leave it out"
        )
    known = sorted(rows["class_name"].unique())
    if isinstance(classes, RandomClasses):
        chosen = _drawn(known, classes, where)
    else:
        if unknown := sorted(set(classes) - set(known)):
            raise DatasetError(
                f"{where}: 'classes' names {listed(unknown)}, which it does not have"
                f"{suggestion(unknown[0], known)}; its classes: {listed(known, 20)}"
            )
        chosen = list(classes)
    labels = {name: label for label, name in enumerate(chosen)}
    kept = rows.filter(polars.col("class_name").is_in(chosen))
    return kept.with_columns(
        label=polars.col("class_name").replace_strict(labels, return_dtype=polars.Int64)
    )


def _drawn(known: list[str], classes: RandomClasses, where: str) -> list[str]:
    if classes.random > len(known):
        raise DatasetError(
            f"{where}: 'classes' asks for {classes.random} classes of {len(known)}; allowed: 2 to "
            f"{len(known)}"
        )
    order = numpy_generator(classes.seed, "classes").permutation(len(known))
    chosen = sorted(known[i] for i in order[: classes.random])
    print(
        f"{where}: {len(chosen)} of {len(known)} classes, drawn by seed {classes.seed}: "
        f"{', '.join(chosen)}",
        file=sys.stderr,
    )
    return chosen
