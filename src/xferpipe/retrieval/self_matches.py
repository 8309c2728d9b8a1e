"""Gallery images that are the query itself: found before a ranking, refused or left out as junk."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import torch

from xferpipe.datasets.checks import listed
from xferpipe.retrieval.labels import Labels

#: Features of one picture differ by this part of their length at most, whatever batch it was in.
_NEAR = 1e-3

Pairs = tuple[numpy.ndarray, numpy.ndarray]


def self_matches(
    query: torch.Tensor,
    gallery: torch.Tensor,
    labels: Labels,
    *,
    query_paths: list[str | None] | None = None,
    gallery_paths: list[str | None] | None = None,
    same_pixels: Callable[[int, int], bool] | None = None,
) -> Pairs:
    """Find the gallery images that are the query's own picture and that no rule leaves out.

    A pair is of one identity and has one path, or the same pixels, or features of the same bits
    that no image of another identity has: a model that gives many images one feature is no proof.

    Args:
        query: Features, float32 (q, d).
        gallery: Features, float32 (m, d).
        labels: Identities and junk rule.
        query_paths: Files of the queries (q), null where they are none; None: not known.
        gallery_paths: Files of the gallery (m), likewise.
        same_pixels: Compares query i with gallery image j; asked only where features are near.
    Returns:
        Positions of queries and of gallery images, int64 (p) each, in the order of the queries.
    """
    query, gallery = (side.cpu().numpy() for side in (query, gallery))
    members = _members(labels.gallery_identity)
    shared = _shared_features(query, gallery, labels)
    lengths = numpy.linalg.norm(query, axis=1)
    found = []
    for at, (identity, length) in enumerate(zip(labels.query_identity, lengths, strict=True)):
        same = members.get(int(identity))
        if same is None:
            continue
        far = numpy.abs(gallery[same] - query[at]).max(axis=1)
        for place in same[~labels.junk_of(at, same)]:
            near = far[numpy.searchsorted(same, place)]
            is_one = (
                _one_path(query_paths, gallery_paths, at, place)
                or (near == 0 and at not in shared)
                or (near <= _NEAR * length and same_pixels is not None and same_pixels(at, place))
            )
            if is_one:
                found.append((at, place))
    pairs = numpy.array(found, dtype=numpy.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def refuse(pairs: Pairs, names: list[str | None], junk_rule: str) -> None:
    """Refuse a ranking in which queries would find themselves.

    Args:
        pairs: See `self_matches`.
        names: Files or other names of the queries (q).
        junk_rule: The rule that leaves them in.
    Raises:
        ValueError: There are such pairs; names some and says what to do.
    """
    queries = numpy.unique(pairs[0])
    if len(queries):
        shown = [names[at] or f"query {at}" for at in queries]
        raise ValueError(
            f"{len(queries)} queries are in the gallery too, and junk rule {junk_rule} leaves them "
            f"there: {listed(shown)}; each would find itself first: set retrieval.leave_self_out: "
            "true, take them out of the gallery, or give cameras and set retrieval.junk_rule: "
            "same_camera"
        )


def _members(identities: numpy.ndarray) -> dict[int, numpy.ndarray]:
    order = numpy.argsort(identities, kind="stable")
    values, starts = numpy.unique(identities[order], return_index=True)
    return dict(zip(values.tolist(), numpy.split(order, starts[1:]), strict=True))


def _shared_features(query: numpy.ndarray, gallery: numpy.ndarray, labels: Labels) -> set[int]:
    """Return the queries whose features, to the bit, an image of another identity has."""
    owners: dict[bytes, set[int]] = {}
    for features, identity in zip(gallery, labels.gallery_identity.tolist(), strict=True):
        owners.setdefault(features.tobytes(), set()).add(identity)
    return {
        at
        for at, (features, identity) in enumerate(
            zip(query, labels.query_identity.tolist(), strict=True)
        )
        if owners.get(features.tobytes(), set()) - {identity}
    }


def _one_path(
    query: list[str | None] | None, gallery: list[str | None] | None, at: int, place: int
) -> bool:
    return bool(query and gallery and query[at] is not None and query[at] == gallery[place])
