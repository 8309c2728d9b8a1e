"""Queries that find themselves: one file as both sides gives every query a hit for nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy
import polars

from xferpipe.ops import mapped
from xferpipe.retrieval.labels import Labels

#: Features of one picture differ by this part of their length at most, whatever batch it was in.
_NEAR = 1e-3
#: Features that rows are first told apart by; only rows equal in these are compared as a whole.
_COLUMNS = 8
_BLOCK_BYTES = 16 << 20
_DIGEST = numpy.dtype((numpy.void, 16))
_CURE = (
    "Leave them out with leave_self_out (--leave-self-out), give a gallery without them, or count "
    "them with leave_self_out False (--keep-self)"
)

Paths = tuple[polars.Series, polars.Series]
#: Compares images: query rows and gallery rows, int64 (pairs) each, to bool (pairs).
SamePixels = Callable[[numpy.ndarray, numpy.ndarray], numpy.ndarray]


class SelfMatchError(ValueError):
    """Queries find themselves in the gallery; the message says which, and what to do."""


def settled(
    query: Any,
    gallery: Any,
    labels: Labels,
    *,
    paths: Paths | None = None,
    leave_self_out: bool | None = None,
    same_pixels: SamePixels | None = None,
    cure: str = _CURE,
) -> Labels:
    """Return labels by which no query finds itself, or is meant to.

    Args:
        query: Features (q, d): array, tensor or memory-mapped array.
        gallery: Features (m, d).
        labels: Identities, cameras and junk rule.
        paths: Paths of queries and gallery images, null where they are unknown.
        leave_self_out: True makes a query itself its junk, False lets it count as a hit, None
            raises where there is one.
        same_pixels: Compares images where they are at hand.
        cure: What to do where a query finds itself, in the words of whoever ranks.
    Raises:
        SelfMatchError: A query finds itself and nobody said what is to happen.
    """
    if leave_self_out is False or query.ndim != 2 or query.shape[1:] != gallery.shape[1:]:
        return labels  # shapes that do not fit are named where they are compared
    labels.check_sizes(len(query), len(gallery))
    asked, found = own_images(query, gallery, labels, paths, same_pixels=same_pixels)
    if leave_self_out:
        return without(labels, asked, found)
    if len(asked):
        raise SelfMatchError(f"{_words(len(query), asked, found, paths)}. {cure}")
    return labels


def own_images(
    query: Any,
    gallery: Any,
    labels: Labels,
    paths: Paths | None = None,
    *,
    same_pixels: SamePixels | None = None,
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Find hits that are the query itself: of its path, its pixels, or with every feature equal.

    Junk is no hit, so the junk rule settles most published sets. A vector that images of other
    identities have too (of a model that says the same of all) tells nothing and is passed over.
    Without images to compare, both sides may be the same rows: then each query is the gallery row
    of its number, and equal vectors elsewhere are images like any others.

    Args:
        query: Features (q, d).
        gallery: Features (m, d); a mapped one is read a block at a time.
        labels: Identities, cameras and junk rule.
        paths: Paths of queries and gallery images, null where they are unknown.
        same_pixels: Compares images; asked only where features are near.
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
    vectors = _numbers(query, gallery)
    if same_pixels is None and numpy.array_equal(*vectors):
        same |= asked == found
        return asked[same], found[same]
    same |= (vectors[0][asked] == vectors[1][found]) & ~_shared(labels, *vectors)[asked]
    if same_pixels is not None:
        near = numpy.flatnonzero(~same)
        near = near[_near(query, gallery, asked[near], found[near])]
        same[near] = same_pixels(asked[near], found[near])
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


def _words(queries: int, asked: numpy.ndarray, found: numpy.ndarray, paths: Paths | None) -> str:
    names = f"query row {asked[0]} is gallery row {found[0]}"
    if paths is not None and (path := paths[1][int(found[0])]) is not None:
        names += f" ({path})"
    return (
        f"{len(numpy.unique(asked))} of {queries} queries find themselves in the gallery: {names}; "
        "such a hit says nothing"
    )


def _numbers(query: Any, gallery: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Number vectors, equal ones alike, whatever their types: int64 (q) and (m).

    A vector that the other side has not is 0 among the queries and 1 in the gallery.
    """
    keys = _keys(query, gallery)
    numbers = numpy.zeros(len(query), numpy.int64), numpy.ones(len(gallery), numpy.int64)
    rows = [numpy.flatnonzero(numpy.isin(*pair)) for pair in (keys, keys[::-1])]
    digests = [_digests(side, own) for side, own in zip((query, gallery), rows, strict=True)]
    _, found = numpy.unique(numpy.concatenate(digests), return_inverse=True)
    numbers[0][rows[0]] = found[: len(rows[0])] + 2
    numbers[1][rows[1]] = found[len(rows[0]) :] + 2
    return numbers


def _keys(query: Any, gallery: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Number rows that agree in some features alike: int64 (q) and (m)."""
    width = query.shape[1]
    columns = numpy.unique(numpy.linspace(0, max(0, width - 1), min(width, _COLUMNS)).astype(int))
    parts = [_columns(side, columns) for side in (query, gallery)]
    _, numbers = numpy.unique(numpy.concatenate(parts), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    return numbers[: len(query)], numbers[len(query) :]


def _columns(features: Any, columns: numpy.ndarray) -> numpy.ndarray:
    taken = numpy.empty((len(features), len(columns)))
    for rows in _blocks(features):
        taken[rows] = numpy.asarray(features[rows][:, columns])
        mapped.release(features)
    return taken


def _digests(features: Any, rows: numpy.ndarray) -> numpy.ndarray:
    """Hash whole vectors, void of 16 bytes (n)."""
    digests = numpy.empty(len(rows), dtype=_DIGEST)
    for part in _blocks(features, len(rows)):
        block = numpy.asarray(features[rows[part]]).astype(numpy.float64, order="C")
        block += 0.0  # -0 equals 0 and has other bits.
        mapped.release(features)
        hashed = (hashlib.blake2b(row, digest_size=_DIGEST.itemsize).digest() for row in block)
        digests[part] = numpy.frombuffer(b"".join(hashed), dtype=_DIGEST)
    return digests


def _shared(labels: Labels, query: numpy.ndarray, gallery: numpy.ndarray) -> numpy.ndarray:
    """Tell which queries' vectors a gallery image of another identity has too, bool (q)."""
    both = numpy.concatenate([labels.query_identity, labels.gallery_identity])
    names, identity = numpy.unique(both, return_inverse=True)
    asked = query * len(names) + identity[: len(query)]
    owned = numpy.unique(gallery * len(names) + identity[len(query) :])
    owners = numpy.bincount(owned // len(names), minlength=len(both))
    return owners[query] > numpy.isin(asked, owned)


def _near(query: Any, gallery: Any, asked: numpy.ndarray, found: numpy.ndarray) -> numpy.ndarray:
    """Tell which pairs of rows hold nearly the same features, bool (pairs)."""
    near = numpy.empty(len(asked), dtype=bool)
    for rows in _blocks(query, len(asked)):
        ours, theirs = numpy.asarray(query[asked[rows]]), numpy.asarray(gallery[found[rows]])
        near[rows] = abs(theirs - ours).max(axis=1) <= _NEAR * numpy.linalg.norm(ours, axis=1)
        mapped.release(query)
        mapped.release(gallery)
    return near


def _blocks(features: Any, rows: int | None = None) -> Sequence[slice]:
    rows = len(features) if rows is None else rows
    step = max(1, _BLOCK_BYTES // (8 * max(1, features.shape[1])))
    return [slice(first, first + step) for first in range(0, rows, step)]
