"""Query and gallery drawn from images whose identities are known, where a set has no such split."""

from __future__ import annotations

import numpy
import polars

from xferpipe.config.datasets import DrawGallery
from xferpipe.datasets.checks import DatasetError, listed
from xferpipe.datasets.draws import first_of_group
from xferpipe.seeding import numpy_generator

#: Identities that test at least, so that there is a wrong answer, and that train at least.
_LEAST = 2


def with_gallery(
    rows: polars.DataFrame, draw: DrawGallery, test_fraction: float, *, where: str
) -> polars.DataFrame:
    """Split images into train, query and gallery.

    Images without a split (all null) are shared out by identity: `test_fraction` of the identities
    test and the others train. Where there is a split, its test images become query and gallery. Of
    each identity and camera `draw.queries` images ask; one at least stays in the gallery, but where
    that would leave an identity of several images no query: then one image of it asks.

    Args:
        rows: Columns path, identity, camera and split (null, train, validation or test).
        draw: Queries of each identity and camera, and the seed.
        test_fraction: Part of the identities that test.
        where: Name of the set for the messages.
    Raises:
        DatasetError: There is a query or gallery split already, no test split beside others, or
            there are fewer than four identities to share out.
    """
    present = set(rows["split"].unique())
    if present & {"query", "gallery"}:
        raise DatasetError(
            f"{where}: draw_gallery is set, but there are query or gallery images already; leave "
            "it out, or empty every split"
        )
    if present == {None}:
        rows = rows.with_columns(split=_shared_out(rows, draw, test_fraction, where))
    elif None in present or "test" not in present:
        splits = listed(sorted(map(str, present)))
        raise DatasetError(
            f"{where}: draw_gallery draws from test images, or from images none of which has a "
            f"split (splits: {splits}); mark some images as test, or empty every split"
        )
    test = rows.filter(split="test").sort("path")
    if test.is_empty():
        return rows
    asks = pick_queries(test, draw)
    drawn = test.select("path", role=polars.Series(numpy.where(asks, "query", "gallery")))
    rows = rows.join(drawn, on="path", how="left", maintain_order="left")
    tested = polars.col("split") == "test"
    split = polars.when(tested).then("role").otherwise("split").alias("split")
    return rows.with_columns(split).drop("role")


def pick_queries(test: polars.DataFrame, draw: DrawGallery) -> numpy.ndarray:
    """Mark the queries among test images, bool (n), which come in the order of their paths."""
    identity = test["identity"].cast(polars.String).to_list()
    camera = test["camera"].cast(polars.String).fill_null("").to_list()
    groups = [f"{one}/{by}" for one, by in zip(identity, camera, strict=True)]
    asks = first_of_group(groups, draw.queries, draw.seed, "draw_gallery")
    stays = ~first_of_group(groups, 1, draw.seed, "draw_gallery", "stays")
    # One image of each identity and camera stays; another of the group may ask in its place.
    for members in _members(groups):
        if asks[members].all():
            asks[members] = stays[members]
    for members in _members(identity):
        if len(members) > 1 and not asks[members].any():
            generator = numpy_generator(draw.seed, "draw_gallery", "one", identity[members[0]])
            chosen = generator.integers(len(members))
            asks[members[chosen]] = True
    return asks


def _members(names: list[str]) -> list[numpy.ndarray]:
    """Return the positions of each name."""
    _, which = numpy.unique(names, return_inverse=True)
    order = numpy.argsort(which, kind="stable")
    return numpy.split(order, numpy.flatnonzero(numpy.diff(which[order])) + 1)


def _shared_out(
    rows: polars.DataFrame, draw: DrawGallery, fraction: float, where: str
) -> polars.Series:
    counts = rows.group_by("identity").len()
    several = counts.filter(polars.col("len") > 1)["identity"].to_list()
    if len(counts) < 2 * _LEAST or len(several) < _LEAST:
        raise DatasetError(
            f"{where}: {len(counts)} identities, {len(several)} of them with two images or more; "
            f"drawing query and gallery takes {_LEAST} of these or more to test, and leaves "
            f"{_LEAST} identities or more to train on: add images"
        )
    count = round(len(counts) * fraction)
    count = min(max(count, _LEAST), len(counts) - _LEAST, len(several))
    # A place of its own for each identity: few others change sides when identities come or go.
    place = {
        one: numpy_generator(draw.seed, "draw_gallery", "identities", str(one)).random()
        for one in several
    }
    chosen = sorted(several, key=lambda one: (place[one], str(one)))[:count]
    test = rows["identity"].is_in(chosen)
    return polars.Series("split", numpy.where(test, "test", "train"))
