"""Who is who: identities and cameras of queries and gallery, and the rule that names junk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

JUNK_RULES = ("same_camera", "index_lists", "none")
#: Stand for "no camera". They differ, so that two unknown cameras are never the same one.
_NO_QUERY_CAMERA, _NO_GALLERY_CAMERA = -(2**62), -(2**62) - 1


@dataclass(frozen=True)
class Labels:
    """Identities, cameras and junk of a comparison.

    Attributes:
        query_identity: int64 (q).
        gallery_identity: int64 (m).
        query_camera: int64 (q), or None where nobody has a camera.
        gallery_camera: int64 (m), or None.
        junk_rule: "same_camera", "index_lists" or "none".
        positives: For "index_lists": gallery rows of each query's hits, q int64 arrays.
        junk: For "index_lists": gallery rows that are left out, q int64 arrays.
    """

    query_identity: numpy.ndarray
    gallery_identity: numpy.ndarray
    query_camera: numpy.ndarray | None = None
    gallery_camera: numpy.ndarray | None = None
    junk_rule: str = "none"
    positives: Sequence[numpy.ndarray] | None = None
    junk: Sequence[numpy.ndarray] | None = None

    @classmethod
    def of(
        cls,
        query_identity: Any,
        gallery_identity: Any,
        query_camera: Any = None,
        gallery_camera: Any = None,
        *,
        junk_rule: str | None = None,
        positives: Sequence[Any] | None = None,
        junk: Sequence[Any] | None = None,
    ) -> Labels:
        """Take labels as arrays, tensors or lists; cameras may hold NaN where they are unknown.

        Args:
            query_identity: Integers (q).
            gallery_identity: Integers (m).
            query_camera: Integers (q), or None.
            gallery_camera: Integers (m), or None.
            junk_rule: None takes "same_camera" where both sides have cameras, else "none".
            positives: For "index_lists": one list of gallery rows per query.
            junk: For "index_lists": one list of gallery rows per query.
        Raises:
            ValueError: Labels are no integers, the rule is unknown, or what it needs is missing.
        """
        if junk_rule is None:
            both = query_camera is not None and gallery_camera is not None
            junk_rule = "same_camera" if both else "none"
        if junk_rule not in JUNK_RULES:
            raise ValueError(f"junk_rule is {junk_rule!r}; allowed: {', '.join(JUNK_RULES)}")
        if junk_rule == "same_camera" and (query_camera is None or gallery_camera is None):
            raise ValueError(
                "junk_rule is same_camera but there are no cameras for "
                f"{'the queries' if query_camera is None else 'the gallery'}; give both, or use "
                "junk_rule none"
            )
        if junk_rule == "index_lists" and (positives is None or junk is None):
            raise ValueError("junk_rule is index_lists, which needs both positives and junk")
        return cls(
            integers(query_identity, "query_identity"),
            integers(gallery_identity, "gallery_identity"),
            _cameras(query_camera, "query_camera", _NO_QUERY_CAMERA),
            _cameras(gallery_camera, "gallery_camera", _NO_GALLERY_CAMERA),
            junk_rule,
            None if positives is None else [integers(rows, "positives") for rows in positives],
            None if junk is None else [integers(rows, "junk") for rows in junk],
        )

    def check_sizes(self, queries: int, gallery: int) -> None:
        """Compare the labels with the features they belong to.

        Raises:
            ValueError: A label vector has another length than its features.
        """
        for name, values, rows in (
            ("query_identity", self.query_identity, queries),
            ("query_camera", self.query_camera, queries),
            ("gallery_identity", self.gallery_identity, gallery),
            ("gallery_camera", self.gallery_camera, gallery),
        ):
            if values is not None and len(values) != rows:
                owner = name.partition("_")[0]
                raise ValueError(
                    f"{owner} has {rows} rows but {name} has {len(values)}: both come from one "
                    'manifest; rebuild it with "snakemake -R manifest"'
                )

    def counts(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Count positives and junk of each query, int64 (q) each."""
        if self.junk_rule == "index_lists":
            return _sizes(self.positives), _sizes(self.junk)
        same = _matches(self.query_identity, self.gallery_identity)
        if self.junk_rule == "none":
            return same, numpy.zeros_like(same)
        identities = numpy.concatenate([self.query_identity, self.gallery_identity])
        cameras = numpy.concatenate([self.query_camera, self.gallery_camera])
        _, identity = numpy.unique(identities, return_inverse=True)
        names, camera = numpy.unique(cameras, return_inverse=True)
        both = identity.astype(numpy.int64) * len(names) + camera
        junk = _matches(both[: len(same)], both[len(same) :])
        return same - junk, junk

    def queries(self, rows: numpy.ndarray) -> Labels:
        """Return the labels of some queries against the whole gallery."""
        return Labels(
            self.query_identity[rows],
            self.gallery_identity,
            None if self.query_camera is None else self.query_camera[rows],
            self.gallery_camera,
            self.junk_rule,
            None if self.positives is None else [self.positives[row] for row in rows],
            None if self.junk is None else [self.junk[row] for row in rows],
        )

    def gallery(self, rows: numpy.ndarray) -> Labels:
        """Return the labels of all queries against a part of the gallery, rows ascending."""
        place = numpy.full(len(self.gallery_identity), -1)
        place[rows] = numpy.arange(len(rows))

        def within(lists: Sequence[numpy.ndarray] | None) -> list[numpy.ndarray] | None:
            if lists is None:
                return None
            moved = [place[own] for own in lists]
            return [own[own >= 0] for own in moved]

        return Labels(
            self.query_identity,
            self.gallery_identity[rows],
            self.query_camera,
            None if self.gallery_camera is None else self.gallery_camera[rows],
            self.junk_rule,
            within(self.positives),
            within(self.junk),
        )

    def as_arguments(self) -> dict[str, Any]:
        """Return the arguments that the ranking ops take."""
        arguments = {
            "query_identity": self.query_identity,
            "gallery_identity": self.gallery_identity,
            "junk_rule": self.junk_rule,
        }
        if self.junk_rule == "same_camera":
            arguments |= {"query_camera": self.query_camera, "gallery_camera": self.gallery_camera}
        if self.junk_rule == "index_lists":
            arguments |= {"positives": self.positives, "junk": self.junk}
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
            f"{name} has shape {found.shape} and type {found.dtype}; expected one integer each: "
            "number them"
        )
    return found.astype(numpy.int64)


def _cameras(values: Any, name: str, unknown: int) -> numpy.ndarray | None:
    if values is None:
        return None
    found = numpy.asarray(values)
    if found.dtype.kind == "O":
        found = numpy.array(
            [numpy.nan if value is None else value for value in values], dtype=float
        )
    if found.dtype.kind == "f":
        missing = numpy.isnan(found)
        whole = numpy.where(missing, 0, found)
        if not (whole == numpy.round(whole)).all():
            raise ValueError(f"{name} holds {whole[whole != numpy.round(whole)][0]}; number them")
        found = numpy.where(missing, unknown, whole.astype(numpy.int64))
    return integers(found, name)


def _sizes(lists: Sequence[numpy.ndarray]) -> numpy.ndarray:
    return numpy.array([len(numpy.unique(rows)) for rows in lists], dtype=numpy.int64)


def _matches(queries: numpy.ndarray, gallery: numpy.ndarray) -> numpy.ndarray:
    """Count the gallery values that equal each query's, int64 (q)."""
    values, counts = numpy.unique(gallery, return_counts=True)
    if len(values) == 0:
        return numpy.zeros(len(queries), dtype=numpy.int64)
    at = numpy.searchsorted(values, queries).clip(max=len(values) - 1)
    return numpy.where(values[at] == queries, counts[at], 0).astype(numpy.int64)
