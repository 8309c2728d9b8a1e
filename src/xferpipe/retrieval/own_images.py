"""Queries that find themselves: one file as both sides gives every query a hit for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy
import polars

from xferpipe.ops import mapped
from xferpipe.retrieval.labels import Labels

#: Features that rows are first told apart by; only rows equal in these are compared as a whole.
_COLUMNS = 8
_BLOCK_BYTES = 16 << 20
_SIDES = ("left", "right")


class SelfMatchError(ValueError):
    """Queries find themselves in the gallery; the message says which, and what to do."""


def settled(
    query: Any,
    gallery: Any,
    labels: Labels,
    *,
    paths: tuple[polars.Series, polars.Series] | None = None,
    leave_self_out: bool | None = None,
) -> Labels:
    """Return labels by which no query finds itself, or is meant to.

    Args:
        query: Features (q, d): array, tensor or memory-mapped array.
        gallery: Features (m, d).
        labels: Identities, cameras and junk rule.
        paths: Paths of queries and gallery images, null where they are unknown.
        leave_self_out: True makes a query itself its junk, False lets it count as a hit, None
            raises where there is one.
    Raises:
        SelfMatchError: A query finds itself and nobody said what is to happen.
    """
    if leave_self_out is False or query.ndim != 2 or query.shape[1:] != gallery.shape[1:]:
        return labels  # shapes that do not fit are named where they are compared
    labels.check_sizes(len(query), len(gallery))
    asked, found = own_images(query, gallery, labels, paths)
    if leave_self_out:
        return without(labels, asked, found)
    if len(asked):
        raise SelfMatchError(_message(len(query), asked, found, paths))
    return labels


def own_images(
    query: Any,
    gallery: Any,
    labels: Labels,
    paths: tuple[polars.Series, polars.Series] | None = None,
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Find hits that are the query itself: of its path, or with every feature equal.

    Junk is no hit, so the junk rule settles most published sets. A vector that images of other
    identities have too (of a model that says the same of all) tells nothing and is passed over.
    Where both sides are the same rows, each query is the gallery row of its number, and equal
    vectors elsewhere are images like any others.

    Args:
        query: Features (q, d).
        gallery: Features (m, d); a mapped one is read a block at a time.
        labels: Identities, cameras and junk rule.
        paths: Paths of queries and gallery images, null where they are unknown.
    Returns:
        Query rows and gallery rows, int64 each, by query.
    """
    asked, found, junk = labels.pairs()
    asked, found = asked[~junk], found[~junk]
    same = numpy.zeros(len(asked), dtype=bool)
    if paths is not None:
        both = polars.concat([side.cast(polars.String) for side in paths]).rank("dense")
        numbers = both.fill_null(0).to_numpy()
        of_query, of_gallery = numbers[: len(paths[0])], numbers[len(paths[0]) :]
        same = (of_query[asked] == of_gallery[found]) & (of_query[asked] > 0)
    keys = _keys(query, gallery)
    if _one_set(query, gallery, *keys):
        same |= asked == found
        return asked[same], found[same]
    alike = numpy.flatnonzero(keys[0][asked] == keys[1][found])
    alike = alike[_equal(query, gallery, asked[alike], found[alike])]
    telling = ~_shared(query, gallery, labels, numpy.unique(asked[alike]), keys)[asked[alike]]
    same[alike[telling]] = True
    return asked[same], found[same]


def without(labels: Labels, asked: numpy.ndarray, found: numpy.ndarray) -> Labels:
    """Return labels by which some pairs of query and gallery row are junk beside the rule's.

    Args:
        labels: Identities, cameras and junk rule.
        asked: Query rows, int64 (pairs).
        found: Gallery rows, int64 (pairs).
    """
    query, gallery, junk = labels.pairs()
    width = max(1, len(labels.gallery_identity))
    junk = junk | numpy.isin(query * width + gallery, asked * width + found)
    lists = {}
    for name, chosen in (("positives", ~junk), ("junk", junk)):
        counts = numpy.bincount(query[chosen], minlength=len(labels.query_identity))
        lists[name] = numpy.split(gallery[chosen], counts.cumsum()[:-1])
    return replace(labels, junk_rule="index_lists", **lists)


def _message(
    queries: int,
    asked: numpy.ndarray,
    found: numpy.ndarray,
    paths: tuple[polars.Series, polars.Series] | None,
) -> str:
    names = f"query row {asked[0]} is gallery row {found[0]}"
    if paths is not None and (path := paths[1][int(found[0])]) is not None:
        names += f" ({path})"
    return (
        f"{len(numpy.unique(asked))} of {queries} queries find themselves in the gallery: {names}; "
        "such a hit says nothing. Leave them out with leave_self_out (--leave-self-out), give a "
        "gallery without them, or count them with leave_self_out False (--keep-self)"
    )


def _keys(query: Any, gallery: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Number rows that agree in some features alike: int64 (q) and (m)."""
    width = query.shape[1]
    columns = numpy.unique(numpy.linspace(0, max(0, width - 1), min(width, _COLUMNS)).astype(int))
    parts = [_columns(query, columns), _columns(gallery, columns)]
    _, numbers = numpy.unique(numpy.concatenate(parts), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    return numbers[: len(query)], numbers[len(query) :]


def _columns(features: Any, columns: numpy.ndarray) -> numpy.ndarray:
    taken = numpy.empty((len(features), len(columns)))
    for rows in _blocks(features):
        taken[rows] = numpy.asarray(features[rows][:, columns])
        mapped.release(features)
    return taken


def _one_set(
    query: Any, gallery: Any, query_keys: numpy.ndarray, gallery_keys: numpy.ndarray
) -> bool:
    """Tell whether both sides hold the same rows in the same order."""
    if not numpy.array_equal(query_keys, gallery_keys):
        return False
    for rows in _blocks(query):
        equal = numpy.array_equal(numpy.asarray(query[rows]), numpy.asarray(gallery[rows]))
        mapped.release(query)
        mapped.release(gallery)
        if not equal:
            return False
    return True


def _equal(query: Any, gallery: Any, asked: numpy.ndarray, found: numpy.ndarray) -> numpy.ndarray:
    """Compare pairs of rows feature by feature, bool (pairs)."""
    equal = numpy.empty(len(asked), dtype=bool)
    for rows in _blocks(query, len(asked)):
        ours, theirs = numpy.asarray(query[asked[rows]]), numpy.asarray(gallery[found[rows]])
        equal[rows] = (ours == theirs).all(1)
        mapped.release(query)
        mapped.release(gallery)
    return equal


def _shared(
    query: Any,
    gallery: Any,
    labels: Labels,
    rows: numpy.ndarray,
    keys: tuple[numpy.ndarray, numpy.ndarray],
) -> numpy.ndarray:
    """Tell which queries' vectors a gallery image of another identity has too, bool (q)."""
    shared = numpy.zeros(len(query), dtype=bool)
    order = numpy.argsort(keys[1], kind="stable")
    ordered = keys[1][order]
    for row in rows:
        first, last = (numpy.searchsorted(ordered, keys[0][row], side) for side in _SIDES)
        others = order[first:last]
        others = others[labels.gallery_identity[others] != labels.query_identity[row]]
        if len(others):
            shared[row] = _equal(query, gallery, numpy.full(len(others), row), others).any()
    return shared


def _blocks(features: Any, rows: int | None = None) -> Sequence[slice]:
    rows = len(features) if rows is None else rows
    step = max(1, _BLOCK_BYTES // (8 * max(1, features.shape[1])))
    return [slice(first, first + step) for first in range(0, rows, step)]
