"""Which gallery items matter to which query: hits and junk, as index lists."""

from dataclasses import dataclass

import torch

from . import inputs
from .loading import call

JUNK_RULES = ("same_camera", "index_lists", "none")


@dataclass(frozen=True)
class Pairs:
    """Hits and junk of every query.

    Attributes:
        offsets: Where each query's items start, int64 (q + 1).
        index: Gallery rows, ascending within a query, int64 (pairs).
        junk: True where the item is junk and not a hit, bool (pairs).
    """

    offsets: torch.Tensor
    index: torch.Tensor
    junk: torch.Tensor

    def to(self, device):
        """Return a copy on a device."""
        return Pairs(*(value.to(device) for value in (self.offsets, self.index, self.junk)))

    def rows(self, first, end):
        """Return the pairs of queries first .. end - 1."""
        start, stop = int(self.offsets[first]), int(self.offsets[end])
        offsets = self.offsets[first : end + 1] - start
        return Pairs(offsets, self.index[start:stop], self.junk[start:stop])

    def within(self, first, end):
        """Return a mask of the pairs whose gallery row lies in first .. end - 1, and offsets."""
        chosen = (self.index >= first) & (self.index < end)
        return chosen, offsets_of(chosen)[self.offsets]


def offsets_of(lengths):
    """Return where parts of these lengths start, and the end, int64 (n + 1)."""
    offsets = torch.zeros(len(lengths) + 1, dtype=torch.int64, device=lengths.device)
    torch.cumsum(lengths, 0, out=offsets[1:])
    return offsets


def make_pairs(
    queries,
    rows,
    query_identity,
    gallery_identity,
    query_camera,
    gallery_camera,
    *,
    junk_rule,
    positives,
    junk,
    conditions=None,
    device="cpu",
):
    """Build the pairs by a junk rule, checked, on a device; see `rank_metrics` for the rest.

    That some query has a positive is asked of `conditions`, or at once.
    """
    conditions = conditions or inputs.Conditions()
    inputs.choice(junk_rule, JUNK_RULES, "junk_rule")
    query_identity = inputs.as_labels(query_identity, queries, "query_identity", "query", device)
    gallery_identity = inputs.as_labels(
        gallery_identity, rows, "gallery_identity", "gallery", device
    )
    if junk_rule == "index_lists":
        if positives is None or junk is None:
            raise ValueError('junk_rule "index_lists" needs positives and junk, one list per query')
        pairs = _from_lists(queries, rows, positives, junk).to(device)
        cure = "check that the lists are those of this query set"
    else:
        if positives is not None or junk is not None:
            raise ValueError(
                f'positives and junk were given but junk_rule is {junk_rule!r}: use "index_lists"'
            )
        cameras = [query_identity[:0]] * 2
        cure = "check that both come from one data set"
        if junk_rule == "same_camera":
            if query_camera is None or gallery_camera is None:
                raise ValueError(
                    'junk_rule "same_camera" needs query_camera and gallery_camera; give both, or '
                    'use junk_rule="none" for a data set without cameras'
                )
            cameras = [
                inputs.as_labels(query_camera, queries, "query_camera", "query", device),
                inputs.as_labels(gallery_camera, rows, "gallery_camera", "gallery", device),
            ]
        pairs = Pairs(*call("rank_metrics_pairs", query_identity, gallery_identity, *cameras))
        if junk_rule == "same_camera" and len(pairs.index):
            cure = (
                'junk_rule "same_camera" removed every hit, so all images of an identity have '
                'one camera; check the cameras or use junk_rule="none"'
            )

    def explain():
        raise ValueError(f"none of {queries} queries has a positive in {rows} gallery rows: {cure}")

    if queries:
        conditions.require(~pairs.junk.all(), explain)
    return pairs


def _flatten(lists, queries, rows, name):
    if len(lists) != queries:
        raise ValueError(f"{name} has {len(lists)} lists but there are {queries} queries")
    parts = [torch.as_tensor(part, dtype=torch.int64).reshape(-1) for part in lists]
    length = torch.tensor([len(part) for part in parts], dtype=torch.int64)
    index = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)
    wrong = ((index < 0) | (index >= rows)).nonzero()
    if len(wrong):
        raise ValueError(
            f"{name} names gallery row {int(index[wrong[0]])} but rows run from 0 to {rows - 1} "
            "(VeRi-776's own files count from 1: subtract 1)"
        )
    return torch.repeat_interleave(torch.arange(queries), length) * max(1, rows) + index


def _from_lists(queries, rows, positives, junk):
    hits = _flatten(positives, queries, rows, "positives").unique()
    dropped = _flatten(junk, queries, rows, "junk").unique()
    both = hits[torch.isin(hits, dropped)]
    if len(both):
        query, row = divmod(int(both[0]), rows)
        raise ValueError(f"gallery row {row} is both a positive and junk of query {query}")
    key, order = torch.cat([hits, dropped]).sort()
    offsets = torch.searchsorted(key, torch.arange(queries + 1) * max(1, rows))
    return Pairs(offsets, key % max(1, rows), order >= len(hits))
