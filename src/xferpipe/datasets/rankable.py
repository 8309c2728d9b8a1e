"""What ranking needs of query and gallery, by the study's rule: checked before any training."""

from __future__ import annotations

import polars

from xferpipe.config.jobs import Ranked
from xferpipe.datasets.checks import DatasetError, listed

#: Columns that the rules compare.
_GROUPS = {"same_camera": "camera", "same_sequence": "sequence"}


def check_rankable(rows: polars.DataFrame, ranked: Ranked, *, where: str) -> None:
    """Check that queries can be ranked and that figures will mean something.

    Args:
        rows: Table `manifest`.
        ranked: The rule, and whether a query's own copies are left out.
        where: Name for the messages.
    Raises:
        DatasetError: No query or gallery images, a rule without what it compares, no query with a
            positive that the rule leaves, or queries that would find themselves.
    """
    for split, other in (("query", "gallery"), ("gallery", "query")):
        if not (rows["split"] == split).any():
            raise DatasetError(
                f"{where}: no {split} images (splits: {listed(sorted(rows['split'].unique()))}); a "
                "retrieval target is tested by query images that look for their identity in a "
                f"gallery: mark some images as {split} and others as {other}, or set draw_gallery"
            )
    if ranked.trained and not (rows["split"] == "train").any():
        raise DatasetError(
            f"{where}: no train images, but the study trains or scores on them; mark some images "
            "as train, or let every recipe of the target have epochs: 0, which ranks with the "
            "models as they are"
        )
    rule = ranked.junk_rule
    if (group := _GROUPS.get(rule)) is not None:
        _check_group(rows, rule, group, where)
        _check_positives(rows, rule, group, where)
    if not ranked.leave_self_out and rule != "index_lists":
        _check_copies(rows, rule, where)


def own_copies(rows: polars.DataFrame) -> polars.DataFrame:
    """Find the gallery images that are a query's own file, or another file of the same bytes.

    Args:
        rows: Table `manifest`; files without `content` are compared by their paths alone.
    Returns:
        One row a pair of one identity: `path` and `path_gallery`, with camera and sequence of both.
    """
    columns = ("path", "content", "identity", "camera", "sequence")
    query, gallery = (
        rows.filter(polars.col("split") == split, polars.col("path").is_not_null()).select(columns)
        for split in ("query", "gallery")
    )
    pairs = query.join(gallery, on="identity", suffix="_gallery")
    same = [polars.col(name) == polars.col(f"{name}_gallery") for name in ("path", "content")]
    found = pairs.filter(polars.any_horizontal(same))
    return found.drop("content", "content_gallery").sort("path", "path_gallery")


def _check_group(rows: polars.DataFrame, rule: str, group: str, where: str) -> None:
    sides = rows.filter(polars.col("split").is_in(["query", "gallery"]))
    if rule == "same_sequence":
        for split in ("query", "gallery"):
            part = sides.filter(split=split)
            if part[group].count() == 0:
                raise DatasetError(
                    f"{where}: retrieval.junk_rule: same_sequence, but none of {len(part)} {split} "
                    "images has a sequence; give them sequences, or set junk_rule: same_camera or "
                    "none"
                )
    values = sides[group].drop_nulls().unique()
    if len(values) == 1 and sides[group].null_count() == 0:
        raise DatasetError(
            f"{where}: all {len(sides)} query and gallery images have {group} {values[0]}, so the "
            f"rule {rule} would take every positive away; where the {group} is unknown leave it "
            "empty (null), else give the true ones, or set retrieval.junk_rule: none"
        )


def _check_positives(rows: polars.DataFrame, rule: str, group: str, where: str) -> None:
    columns = ("identity", group)
    query, gallery = (rows.filter(split=split).select(columns) for split in ("query", "gallery"))
    pairs = query.unique().join(gallery.unique(), on="identity", suffix="_gallery")
    kept = pairs.filter(_alike(group).not_())
    if len(pairs) and kept.is_empty():
        asked = query.join(gallery, on="identity", how="semi")
        raise DatasetError(
            f"{where}: no query has a positive: the rule {rule} takes every gallery image of the "
            f"identities of {len(asked)} of {len(query)} queries away, and the others' identities "
            f"are not in the gallery; add gallery images by another {group}, or set "
            "retrieval.junk_rule: none"
        )


def _check_copies(rows: polars.DataFrame, rule: str, where: str) -> None:
    copies = own_copies(rows)
    if (group := _GROUPS.get(rule)) is not None:
        copies = copies.filter(_alike(group).not_())
    if len(copies):
        queries = copies["path"].unique(maintain_order=True)
        nameless = group is not None and copies[group].null_count() == len(copies)
        unknown = f" without a {group}" if nameless else ""
        raise DatasetError(
            f"{where}: {len(queries)} queries{unknown} are in the gallery too: {listed(queries)} "
            f"(as {copies['path_gallery'][0]}); each would find itself first: set "
            "retrieval.leave_self_out: true, take them out of the gallery, or give cameras and set "
            "retrieval.junk_rule: same_camera"
        )


def _alike(group: str) -> polars.Expr:
    """Tell whether the cameras or sequences of a pair are one; an unknown one equals no other."""
    return (polars.col(group) == polars.col(f"{group}_gallery")).fill_null(value=False)
