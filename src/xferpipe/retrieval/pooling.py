"""Several images as one item: the tracks of a gallery, all queries of one identity and camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import polars

from xferpipe.ops import mapped
from xferpipe.retrieval.feature_files import FeatureFile

_BLOCK_BYTES = 16 << 20


def pooled(file: FeatureFile, columns: Sequence[str], *, side: str) -> FeatureFile:
    """Replace images that agree in some columns by one item: the mean of their unit features.

    Items stand where their first image did, with its row and path. A row without a value in one of
    the columns stays an item of its own; so does what is known of the camera or sequence only
    where all images of an item agree.

    Args:
        file: Features (n, d), mapped or in memory.
        columns: Columns of the labels.
        side: "queries" or "gallery", for the messages.
    Raises:
        ValueError: Images of one item have several identities.
    Source:
        Zheng et al., MARS, ECCV 2016 (tracks); Zheng et al., ICCV 2015 (several queries).
    """
    labels = file.labels
    known = polars.all_horizontal(polars.col(name).is_not_null() for name in columns)
    own = polars.format("row {}", polars.col("row"))
    key = polars.concat_str(
        [polars.col(name).cast(polars.String) for name in columns], separator="\t"
    )
    items = labels.with_columns(
        polars.when(known).then(polars.format("item {}", key)).otherwise(own).alias("_item")
    )
    groups = items.group_by("_item", maintain_order=True)
    several = groups.agg(
        polars.col("identity").n_unique().alias("count"), polars.col("row").first()
    )
    wrong = several.filter(polars.col("count") > 1)
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} items of the {side} ({' and '.join(columns)}) hold several identities, "
            f"the first at row {wrong['row'][0]}; give a column that tells them apart"
        )
    agreed = [
        polars.when(polars.col(name).n_unique() == 1)
        .then(polars.col(name).first())
        .otherwise(None)
        .alias(name)
        for name in ("camera", "sequence")
    ]
    kept = [
        polars.col(name).first() for name in labels.columns if name not in ("camera", "sequence")
    ]
    table = groups.agg(*kept, *agreed).select(labels.columns)
    places = dict(zip(several["_item"].to_list(), range(len(several)), strict=True))
    place = items["_item"].replace_strict(places, return_dtype=polars.Int64).to_numpy()
    return FeatureFile(_means(file.features, place, len(table)), table)


def _means(features: numpy.ndarray, place: numpy.ndarray, items: int) -> numpy.ndarray:
    """Average unit features by item, in float64 a block at a time."""
    sums = numpy.zeros((items, features.shape[1]))
    step = max(1, _BLOCK_BYTES // (8 * features.shape[1]))
    for first in range(0, len(features), step):
        part = numpy.asarray(features[first : first + step], dtype=numpy.float64)
        mapped.release(features)
        length = numpy.linalg.norm(part, axis=1, keepdims=True)
        numpy.add.at(sums, place[first : first + step], part / numpy.where(length > 0, length, 1))
    means = sums / numpy.bincount(place, minlength=items)[:, None]
    return means if features.dtype == numpy.float64 else means.astype(numpy.float32)
