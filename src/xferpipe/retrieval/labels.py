"""Who is who: identities, cameras and sequences, and the rule that names junk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy

JUNK_RULES = ("same_camera", "same_sequence", "index_lists", "none")
#: Stand for "unknown". They differ, so that two unknown cameras are never the same one.
_UNKNOWN = {"query": -(2**62), "gallery": -(2**62) - 1}


@dataclass(frozen=True)
class Labels:
    """What is known of the images of a comparison.

    Attributes:
        query_identity: int64 (q).
        gallery_identity: int64 (m).
        query_camera: int64 (q), or None where nobody has a camera.
        gallery_camera: int64 (m), or None.
        query_sequence: int64 (q), or None where nobody has a sequence.
        gallery_sequence: int64 (m), or None.
        positives: For "index_lists": gallery rows of each query's hits, q int64 arrays.
        junk: For "index_lists": gallery rows that are left out, q int64 arrays.
        junk_rule: "same_camera", "same_sequence", "index_lists" or "none".
    """

    query_identity: numpy.ndarray
    gallery_identity: numpy.ndarray
    query_camera: numpy.ndarray | None = None
    gallery_camera: numpy.ndarray | None = None
    query_sequence: numpy.ndarray | None = None
    gallery_sequence: numpy.ndarray | None = None
    positives: Sequence[numpy.ndarray] | None = None
    junk: Sequence[numpy.ndarray] | None = None
    junk_rule: str = "none"

    @classmethod
    def of(
        cls,
        query_identity: Any,
        gallery_identity: Any,
        query_camera: Any = None,
        gallery_camera: Any = None,
        *,
        junk_rule: str | None = None,
        **others: Any,
    ) -> Labels:
        """Take labels as arrays, tensors or lists; cameras may hold NaN where they are unknown.

        Args:
            query_identity: Integers (q).
            gallery_identity: Integers (m).
            query_camera: Integers (q), or None.
            gallery_camera: Integers (m), or None.
            junk_rule: None takes "same_camera" where both sides have cameras, else "none".
            others: `query_sequence`, `gallery_sequence`, `positives` and `junk` likewise.
        Raises:
            ValueError: Labels are no integers, the rule is unknown, or what it needs is missing.
        """
        given = {"query_camera": query_camera, "gallery_camera": gallery_camera, **others}
        if junk_rule is None:
            known = query_camera is not None and gallery_camera is not None
            junk_rule = "same_camera" if known else "none"
        if junk_rule not in JUNK_RULES:
            raise ValueError(f"junk_rule is {junk_rule!r}; allowed: {', '.join(JUNK_RULES)}")
        if missing := [name for name in _needs(junk_rule) if given.get(name) is None]:
            raise ValueError(
                f"junk_rule is {junk_rule}, which needs {' and '.join(missing)}; give them "
                "(of files: a column of that kind on both sides), or use junk_rule none"
            )
        for name in ("query_camera", "gallery_camera", "query_sequence", "gallery_sequence"):
            given[name] = _groups(given.get(name), name)
        for name in ("positives", "junk"):
            lists = given.get(name)
            given[name] = None if lists is None else [integers(rows, name) for rows in lists]
        return cls(
            integers(query_identity, "query_identity"),
            integers(gallery_identity, "gallery_identity"),
            junk_rule=junk_rule,
            **given,
        )

    def check_sizes(self, queries: int, gallery: int) -> None:
        """Compare the labels with the features they belong to.

        Raises:
            ValueError: A label vector has another length than its features.
        """
        for field in fields(self):
            values, owner = getattr(self, field.name), field.name.partition("_")[0]
            rows = gallery if owner == "gallery" else queries
            if field.name != "junk_rule" and values is not None and len(values) != rows:
                raise ValueError(
                    f"{'gallery' if owner == 'gallery' else 'query'} has {rows} rows but "
                    f"{field.name} has {len(values)}: both must come from one list of "
                    "images"
                )

    def counts(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Count positives and junk of each query, int64 (q) each."""
        if self.junk_rule == "index_lists":
            return _sizes(self.positives), _sizes(self.junk)
        same = _matches(self.query_identity, self.gallery_identity)
        if self.junk_rule == "none":
            return same, numpy.zeros_like(same)
        identities = numpy.concatenate([self.query_identity, self.gallery_identity])
        _, identity = numpy.unique(identities, return_inverse=True)
        names, group = numpy.unique(numpy.concatenate(self.groups()), return_inverse=True)
        both = identity.astype(numpy.int64) * len(names) + group
        junk = _matches(both[: len(same)], both[len(same) :])
        return same - junk, junk

    def junk_of(self, query: int, rows: numpy.ndarray) -> numpy.ndarray:
        """Tell which gallery rows of a query's own identity are junk for it, bool (n)."""
        if self.junk_rule == "index_lists":
            return numpy.isin(rows, self.junk[query])
        if self.junk_rule == "none":
            return numpy.zeros(len(rows), dtype=bool)
        asked, answered = self.groups()
        return answered[rows] == asked[query]

    def groups(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return what the rules same_camera and same_sequence compare: int64 (q) and (m)."""
        kind = self.junk_rule.removeprefix("same_")
        return getattr(self, f"query_{kind}"), getattr(self, f"gallery_{kind}")

    def pairs(self) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """List hits and junk: query rows and gallery rows, int64, and bool that is true of junk.

        They go by query, and by gallery row within one.
        """
        if self.junk_rule == "index_lists":
            sizes = [
                numpy.array([len(rows) for rows in lists], dtype=numpy.int64)
                for lists in (self.positives, self.junk)
            ]
            asked = numpy.concatenate(
                [numpy.repeat(numpy.arange(len(size)), size) for size in sizes]
            )
            lists = [*self.positives, *self.junk]
            found = numpy.concatenate(lists) if lists else asked
            junk = numpy.arange(len(found)) >= sizes[0].sum()
            order = numpy.lexsort((found, asked))
            return asked[order], found[order], junk[order]
        order = numpy.argsort(self.gallery_identity, kind="stable")
        ordered = self.gallery_identity[order]
        first, last = (
            numpy.searchsorted(ordered, self.query_identity, side) for side in ("left", "right")
        )
        length = last - first
        asked = numpy.repeat(numpy.arange(len(length)), length)
        within = numpy.arange(len(asked)) - numpy.repeat(length.cumsum() - length, length)
        found = order[numpy.repeat(first, length) + within]
        if self.junk_rule == "none":
            return asked, found, numpy.zeros(len(found), dtype=bool)
        query, gallery = self.groups()
        return asked, found, query[asked] == gallery[found]

    def queries(self, rows: numpy.ndarray) -> Labels:
        """Return the labels of some queries against the whole gallery."""
        parts = {
            name: _taken(getattr(self, name), rows)
            for name in ("query_identity", "query_camera", "query_sequence")
        }
        for name in ("positives", "junk"):
            lists = getattr(self, name)
            parts[name] = None if lists is None else [lists[row] for row in rows]
        return replace(self, **parts)

    def gallery(self, rows: numpy.ndarray) -> Labels:
        """Return the labels of all queries against a part of the gallery, rows ascending."""
        place = numpy.full(len(self.gallery_identity), -1)
        place[rows] = numpy.arange(len(rows))
        parts: dict[str, Any] = {
            name: _taken(getattr(self, name), rows)
            for name in ("gallery_identity", "gallery_camera", "gallery_sequence")
        }
        for name in ("positives", "junk"):
            lists = getattr(self, name)
            moved = None if lists is None else [place[own] for own in lists]
            parts[name] = None if moved is None else [own[own >= 0] for own in moved]
        return replace(self, **parts)

    def as_arguments(self) -> dict[str, Any]:
        """Return the arguments that the ranking ops take: a sequence is a camera to them."""
        arguments = {
            "query_identity": self.query_identity,
            "gallery_identity": self.gallery_identity,
            "junk_rule": self.junk_rule,
        }
        if self.junk_rule == "index_lists":
            arguments |= {"positives": self.positives, "junk": self.junk}
        elif self.junk_rule != "none":
            query, gallery = self.groups()
            arguments |= {
                "query_camera": query,
                "gallery_camera": gallery,
                "junk_rule": "same_camera",
            }
        return arguments


def integers(values: Any, name: str) -> numpy.ndarray:
    """Return int64 (n) of an array, a tensor or a list.

    Raises:
        ValueError: Not one dimension, or values that are no integers.
    """
    found = numpy.asarray(values)
    if found.size == 0:
        found = found.astype(numpy.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has shape {found.shape} and type {found.dtype}; expected a vector of "
            "integers: number them"
        )
    return found.astype(numpy.int64)


def known_values(labels: numpy.ndarray) -> numpy.ndarray:
    """Return the different cameras or sequences there are, ascending; unknown ones are none."""
    return numpy.setdiff1d(labels, list(_UNKNOWN.values()))


def _needs(junk_rule: str) -> tuple[str, ...]:
    if junk_rule == "index_lists":
        return "positives", "junk"
    kind = junk_rule.removeprefix("same_")
    return () if junk_rule == "none" else (f"query_{kind}", f"gallery_{kind}")


def _groups(values: Any, name: str) -> numpy.ndarray | None:
    """Return cameras or sequences as int64; None and NaN become a number that equals no other."""
    if values is None:
        return None
    found = numpy.asarray(values)
    if found.dtype.kind == "O":
        found = numpy.array([numpy.nan if value is None else value for value in values], float)
    if found.dtype.kind == "f":
        unknown = numpy.isnan(found)
        if strange := [value for value in found[~unknown].tolist() if value != round(value)]:
            raise ValueError(f"{name} holds {strange[0]}; expected integers: number them")
        numbers = numpy.where(unknown, 0, found).astype(numpy.int64)
        found = numpy.where(unknown, _UNKNOWN[name.partition("_")[0]], numbers)
    return integers(found, name)


def _taken(values: numpy.ndarray | None, rows: numpy.ndarray) -> numpy.ndarray | None:
    return None if values is None else values[rows]


def _sizes(lists: Sequence[numpy.ndarray]) -> numpy.ndarray:
    return numpy.array([len(numpy.unique(rows)) for rows in lists], dtype=numpy.int64)


def _matches(queries: numpy.ndarray, gallery: numpy.ndarray) -> numpy.ndarray:
    """Count the gallery values that equal each query's, int64 (q)."""
    values, counts = numpy.unique(gallery, return_counts=True)
    if len(values) == 0:
        return numpy.zeros(len(queries), dtype=numpy.int64)
    at = numpy.searchsorted(values, queries).clip(max=len(values) - 1)
    return numpy.where(values[at] == queries, counts[at], 0).astype(numpy.int64)
