"""Copies of images across classes, splits and data sets: of the same bytes, or nearly alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
import polars

from xferpipe.datasets.checks import listed

#: Cosine of two images' features from which they count as near copies. Under EfficientNet-Lite0 at
#: 96 px the nearest other image was at most at 0.980 for 1,240 digits, letters, shapes, textures
#: and tiles of photographs; a picture made a tenth brighter at 0.976 to 0.997 in the median, saved
#: as JPEG of quality 90 at 0.968 to 0.982. So most pairs above are copies; not all copies are.
NEAR = 0.98
#: Images that are compared with each other: more take time and memory with their square.
_COMPARED = 20_000
_BLOCK = 1024
#: Splits that a model is judged on.
_JUDGED = ("validation", "test", "query", "gallery")


def copy_findings(rows: polars.DataFrame) -> list[str]:
    """Say which images of a data set are exact copies of others.

    Args:
        rows: Table `manifest`; images without `content` are passed over.
    """
    files = (
        rows.filter(polars.col("content").is_not_null())
        # One file in query and gallery is the protocol of re-identification sets.
        .with_columns(part=polars.col("split").replace({"query": "gallery"}))
        .filter(polars.len().over("content") > 1)
        .sort("content", "row")
    )
    if files.is_empty():
        return []
    groups = files.group_by("content", maintain_order=True).agg(
        polars.col("path"),
        polars.col("class_name").unique().sort(),
        parts=polars.col("part").unique().sort(),
        copies=polars.len(),
    )
    classes = groups.filter(polars.col("class_name").list.len() > 1)
    crossing = groups.filter(
        polars.col("parts").list.contains("train") & (polars.col("parts").list.len() > 1)
    )
    within = groups.filter(
        (polars.col("class_name").list.len() == 1)
        & (polars.col("parts").list.len() == 1)
        & (polars.col("parts").list.first() != "gallery")
    )
    texts = []
    if classes.height:
        texts.append(
            f"{_pictures(classes)} in more than one class: {_named(classes)}; a model cannot learn "
            "both: keep each in the right one"
        )
    if crossing.height:
        texts.append(
            f"{_pictures(crossing)} both among the training images and among those that models are "
            f"judged on: {_named(crossing)}; figures on them say nothing of new images: keep each "
            "on one side"
        )
    if within.height:
        spare = int((within["copies"] - 1).sum())
        texts.append(
            f"{_pictures(within)} there more than once in one class ({spare} copies too many): "
            f"{_named(within)}; copies count double: keep one of each"
        )
    return texts


def copies_of_sources(rows: polars.DataFrame, sources: Mapping[str, polars.DataFrame]) -> list[str]:
    """Say which of a target's images are exact copies of images that models were pretrained on.

    Args:
        rows: Table `manifest` of the target.
        sources: Likewise of the pretraining sources, by name.
    """
    texts = []
    own = rows.filter(polars.col("content").is_not_null()).sort("row")
    for name, source in sources.items():
        seen = source.filter(polars.col("content").is_not_null() & (polars.col("split") == "train"))
        known = own.join(seen.select("content").unique(), on="content", how="semi")
        judged = known.filter(polars.col("split").is_in(_JUDGED)).height
        if known.height:
            texts.append(
                f"{known.height:,} images, {judged:,} of them among those that models are judged "
                f"on, are exact copies of training images of source {name}: "
                f"{listed(known['path'])}; its models look better than they are"
            )
    return texts


def near_copy_findings(rows: polars.DataFrame, features: numpy.ndarray) -> list[str]:
    """Say which images of different classes, or on both sides of a judgement, are nearly alike.

    Args:
        rows: Table `manifest`.
        features: Features of its images under one pretrained model, float (n, d).
    Returns:
        A sentence, or none; nothing of more than 20,000 images.
    """
    if not 1 < len(features) <= _COMPARED:
        return []
    length = numpy.linalg.norm(features, axis=1, keepdims=True)
    unit = features / numpy.maximum(length, numpy.finfo(features.dtype).tiny)
    known = rows.with_columns(part=polars.col("split").replace({"query": "gallery"}))
    kinds = [known[name].cast(polars.Categorical).to_physical() for name in ("class_name", "part")]
    classes, parts = (kind.to_numpy() for kind in kinds)
    contents = known["content"].to_list()
    pairs = []
    for start in range(0, len(unit), _BLOCK):
        block = slice(start, start + _BLOCK)
        close = unit[block] @ unit.T >= NEAR
        apart = (classes[block, None] != classes) | (parts[block, None] != parts)
        first, second = numpy.nonzero(close & apart)
        pairs += zip((first + start).tolist(), second.tolist(), strict=True)
    paths = known["path"].to_list()
    named = [
        f"{paths[a]} ~ {paths[b]}"
        for a, b in pairs
        if a < b and (contents[a] is None or contents[a] != contents[b])
    ]
    if not named:
        return []
    count = "1 pair" if len(named) == 1 else f"{len(named):,} pairs"
    return [
        f"{count} of images in different classes or splits are nearly alike (cosine of their "
        f"features {NEAR:g} or more): {listed(named, limit=3)}; look whether they are copies"
    ]


def _pictures(groups: polars.DataFrame) -> str:
    return "1 picture is" if groups.height == 1 else f"{groups.height:,} pictures are"


def _named(groups: polars.DataFrame) -> str:
    return listed((" = ".join(paths[:3]) for paths in groups["path"]), limit=3)
