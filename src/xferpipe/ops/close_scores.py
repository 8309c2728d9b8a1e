"""Order that float32 products cannot tell: found by a bound of their error, settled in float64.

A float32 score of two rows is off by at most (d + 8) 2^-24 |q| |g|, whatever the order of its sum,
the norm's rounding and that of wider features included (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1). In a large ranking, where doubt about everything would cost more
than the ranking does, the bound is 6 sqrt(d + 8) 2^-24 |q| |g|, which one product in ten millions
may break (Higham and Mary, SIAM Journal on Scientific Computing, 2019). Two gallery rows whose
scores differ by more than twice that are in their right order; where others lie closer to a hit,
the query is ranked again in float64.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from . import inputs, mapped
from .pairs import offsets_of

#: Multiply-adds of a whole ranking up to which every hit is looked at and every doubt settled.
THOROUGH = 1 << 31
#: Above: hits looked at of each query (the first, the middle one, the last), and how far doubt may
#: move an average precision.
TOLERANCE = 1e-4
#: Ranks of CMC that a first hit must not be on either side of.
CMC_RANKS = (1, 5, 10, 20)
#: Standard deviations that rounding errors may add up to.
_DEVIATIONS = 6
_UNIT_FLOAT32, _UNIT_FLOAT64 = 2.0**-24, 2.0**-53
_BLOCK_BYTES = 8 << 20
_QUERIES, _PAIRS, _GATHERED = 64, 256, 4096
#: Above one score in so many, a block is multiplied in float64 as a whole.
_FEW = 16


def bound(query_norms, gallery_norms, width, distance, unit=_UNIT_FLOAT32, *, likely=False):
    """Bound the error of a score, float64 (q).

    Args:
        query_norms: Squared norms of the queries, float64 (q).
        gallery_norms: Squared norms of the gallery, float64 (m).
        width: Features of a row.
        distance: Code of `inputs.DISTANCES`.
        unit: Unit roundoff of the products.
        likely: Take the smaller bound that fails once in millions of products.
    """
    terms = width + 8
    if likely:
        terms = min(terms, _DEVIATIONS * terms**0.5)
    query = query_norms.sqrt()
    if distance == inputs.DISTANCES["cosine"] or len(gallery_norms) == 0:
        return terms * unit * query
    longest = gallery_norms.max()
    return unit * (terms * query * longest.sqrt() + 2 * longest)


@dataclass(frozen=True)
class Watch:
    """Hits whose surroundings are counted along with them.

    Attributes:
        pair: Positions among all pairs, int64 (w).
        owner: Their queries, int64 (w).
        hits: Hits of the query up to this one, by score, int64 (w).
        junk: Junk before this one, by score, int64 (w).
        is_first: The query's first hit, bool (w).
        thorough: Every hit is watched and every doubt counts.
    """

    pair: torch.Tensor
    owner: torch.Tensor
    hits: torch.Tensor
    junk: torch.Tensor
    is_first: torch.Tensor
    thorough: bool


def watched(pairs, scores, work):
    """Choose the hits to watch: all of a small ranking, up to three a query of a large one.

    Args:
        pairs: Hits and junk.
        scores: Score of each pair, float32 (pairs).
        work: Multiply-adds of the whole ranking.
    """
    lengths = pairs.offsets.diff()
    owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    order = scores.argsort(descending=True, stable=True)
    order = order[owner[order].argsort(stable=True)]
    is_hit = ~pairs.junk[order]
    running = offsets_of(is_hit)
    start, end = (running[pairs.offsets[at : len(lengths) + at]] for at in (0, 1))
    place = running[1:] - start[owner]  # 1-based among the hits of the query
    total = (end - start)[owner]
    junk = torch.arange(len(order)) - pairs.offsets[:-1][owner] - (place - 1)
    chosen = is_hit
    if work > THOROUGH:
        chosen = is_hit & ((place == 1) | (place == total) | (place == (total + 1) // 2))
    kept = order[chosen]
    return Watch(
        kept, owner[kept], place[chosen], junk[chosen], place[chosen] == 1, work <= THOROUGH
    )


def widened(pairs, scores, watch, error, rows):
    """Return pairs and scores with two thresholds more for each watched hit, and their places.

    Their rows lie behind the gallery, so that they lose every tie: they count scores from their own
    value upward.
    """
    value, margin = scores[watch.pair].double(), 2 * error[watch.owner]
    infinity = torch.tensor(torch.inf)
    above = torch.nextafter((value + margin).float(), infinity).nextafter(infinity)
    below = torch.nextafter((value - margin).float(), -infinity)
    lengths = pairs.offsets.diff()
    owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    order = torch.cat([owner, watch.owner, watch.owner]).argsort(stable=True)
    index = torch.cat([pairs.index, torch.full((2 * len(value),), rows)])[order]
    more = torch.bincount(watch.owner, minlength=len(lengths))
    return offsets_of(lengths + 2 * more), index, torch.cat([scores, above, below])[order], order


def doubtful(watch, above, reach, queries):
    """Tell which queries must be ranked again, bool (q).

    Args:
        watch: Watched hits.
        above: Gallery rows that surely come before each, int64 (w).
        reach: Gallery rows that do so perhaps, itself included, int64 (w).
        queries: Queries there are.
    """
    out = torch.zeros(queries, dtype=torch.bool)
    unsure = reach - above > 1
    if watch.thorough:
        out[watch.owner[unsure]] = True
        return out
    before, after = (above - watch.junk).clamp(min=0) + 1, (reach - watch.junk).clamp(min=1)
    for rank in CMC_RANKS:
        out[watch.owner[watch.is_first & unsure & (before <= rank) & (after > rank)]] = True
    moved = torch.where(unsure, watch.hits * (1.0 / before - 1.0 / after), 0.0)
    moved = moved.clamp(max=1.0).double()
    sums = torch.zeros(queries, dtype=torch.float64).index_add_(0, watch.owner, moved)
    counts = torch.bincount(watch.owner, minlength=queries).clamp(min=1)
    return out | (sums / counts > TOLERANCE)


def recounted(query, gallery, source, norms, pairs, distance):
    """Count in float64 the gallery rows before each pair, int64 (pairs); ties to the smaller row.

    Scores that float32 tells from those of all pairs stay as they are; of the others, products of
    matrices tell most, and the rest are computed row by row, so that equal rows tie.

    Args:
        query: Features of the queries that are ranked again, floating point (q, d).
        gallery: Features (m, d).
        source: What the gallery was made from; of a mapped array one block is in memory at a time.
        norms: Squared norms of the gallery, float64 (m).
        pairs: Hits and junk of these queries.
        distance: Code of `inputs.DISTANCES`.
    """
    query, narrow = query.double(), query.float()
    own_norms = query.square().sum(1)
    scores = _pair_scores(query, gallery, source, pairs, distance)
    coarse = 2 * bound(own_norms, norms, query.shape[1], distance)
    fine = 2 * bound(own_norms, norms, query.shape[1], distance, _UNIT_FLOAT64)
    nearer = torch.zeros(len(pairs.index), dtype=torch.int64)
    bounds = pairs.offsets.tolist()
    for first, block in _blocks(gallery, source):
        of_block, floats, wide = norms[first : first + len(block)], block.float(), None
        for start in range(0, len(query), _QUERIES):
            rows = slice(start, start + _QUERIES)
            own = [slice(*bounds[at : at + 2]) for at in range(start, start + len(query[rows]))]
            here = _score((narrow[rows] @ floats.T).double(), of_block, distance)
            parts = _placed(here, scores, own, coarse[rows])
            if sum(len(part.close) for part in parts) > here.numel() // _FEW:
                wide = block.double() if wide is None else wide
                here = _score(query[rows] @ wide.T, wide.square().sum(1), distance)
                parts = _placed(here, scores, own, fine[rows])
            sizes = [len(part.close) for part in parts]
            asked = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(sizes))
            found = torch.cat([part.close for part in parts])
            exact = _exact(query[rows], block, asked, found, distance)
            for part, of, near, row in zip(parts, own, exact.split(sizes), found.split(sizes)):
                before = _before(near, first + row, scores[of], pairs.index[of])
                nearer[of] += part.above + before
    return nearer


class _Placed(NamedTuple):
    """Scores (m) of one query among thresholds (t).

    Attributes:
        close: Scores within a margin of a threshold, their positions, int64 (c).
        above: Scores above each threshold that are close to none, int64 (t).
    """

    close: torch.Tensor
    above: torch.Tensor


def _placed(scores, thresholds, own, margins):
    """Place the scores (q, m) of each query among its thresholds."""
    parts = []
    for row, of, margin in zip(scores, own, margins):
        ordered, order = thresholds[of].sort()
        after = torch.searchsorted(ordered, row)
        upper = ordered[after.clamp(max=len(ordered) - 1)]
        lower = ordered[(after - 1).clamp(min=0)]
        close = ((upper - row).abs() <= margin) | ((lower - row).abs() <= margin)
        counts = torch.bincount(after[~close], minlength=len(ordered) + 1)
        above = torch.empty_like(order)
        above[order] = counts.flip(0).cumsum(0).flip(0)[1:]
        parts.append(_Placed(close.nonzero()[:, 0], above))
    return parts


def _pair_scores(query, gallery, source, pairs, distance):
    """Score every pair in float64."""
    scores = torch.empty(len(pairs.index), dtype=torch.float64)
    owner = torch.repeat_interleave(torch.arange(len(query)), pairs.offsets.diff())
    for first, block in _blocks(gallery, source):
        own = pairs.within(first, first + len(block))[0].nonzero()[:, 0]
        scores[own] = _exact(query, block, owner[own], pairs.index[own] - first, distance)
    return scores


def _exact(query, rows, asked, found, distance):
    """Score pairs of a query and a row in float64; equal rows get equal bits."""
    parts = []
    for ours, theirs in zip(asked.split(_GATHERED), found.split(_GATHERED)):
        near = rows[theirs].double()
        products = (near * query[ours].double()).sum(1)
        parts.append(_score(products, near.square().sum(1), distance))
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


def settled_lists(query, gallery, source, k, scores, indices, distance, error):
    """Put lists of the nearest rows into the order of float64, where float32 cannot tell it.

    Args:
        query: Features, floating point (q, d).
        gallery: Features (m, d).
        source: What the gallery was made from.
        k: Entries that are wanted; there are more where the gallery has more.
        scores: float32 (q, w), descending; w >= k.
        indices: Gallery rows, int64 (q, w).
        distance: Code of `inputs.DISTANCES`.
        error: Bound of the error of a query's scores, float64 (q).
    Returns:
        Scores and rows, (q, k) each, and which queries were settled, bool (q).
    """
    gaps = scores[:, :-1].double() - scores[:, 1:].double()
    close = (gaps[:, :k] <= 2 * error[:, None]).any(1)
    out, found = scores[:, :k].clone(), indices[:, :k].clone()
    rows = close.nonzero()[:, 0]
    is_cut = scores.shape[1] < len(gallery)
    if 8 * scores.shape[1] * gallery.shape[1] > _BLOCK_BYTES:
        for row in rows.tolist():
            out[row], found[row] = _whole(query[row], gallery, source, k, distance)
        return out, found, close
    for own in rows.split(16):
        exact = torch.empty((len(own), scores.shape[1]), dtype=torch.float64)
        for at, row in enumerate(own.tolist()):
            near = indices[row]
            exact[at] = _exact(query, gallery, torch.full_like(near, row), near, distance)
            mapped.release(source)
        # Ties by row: rows ascend before the stable sort.
        ordered, order = indices[own].sort(1)
        best = exact.gather(1, order).sort(dim=1, descending=True, stable=True)
        out[own] = best.values[:, :k].float()
        found[own] = ordered.gather(1, best.indices)[:, :k]
        if is_cut:
            # Rows that were left out score at most the last one's score, and the error of both.
            limit = scores[own, -1].double() + error[own]
            for row in own[best.values[:, k - 1] <= limit].tolist():
                out[row], found[row] = _whole(query[row], gallery, source, k, distance)
    return out, found, close


def _whole(query, gallery, source, k, distance):
    """Rank one query against the whole gallery in float64."""
    parts = []
    for _, block in _blocks(gallery, source):
        rows = torch.arange(len(block))
        parts.append(_exact(query[None], block, torch.zeros_like(rows), rows, distance))
    best = torch.cat(parts).sort(descending=True, stable=True)
    return best.values[:k].float(), best.indices[:k]


def _before(scores, rows, thresholds, own):
    """Count the scores (m) of gallery rows that come before each threshold of its own row."""
    parts = []
    for values, places in zip(thresholds.split(_PAIRS), own.split(_PAIRS)):
        above = scores > values[:, None]
        tied = (scores == values[:, None]) & (rows < places[:, None])
        parts.append((above | tied).sum(1))
    return torch.cat(parts)


def _score(products, norms, distance):
    if distance == inputs.DISTANCES["cosine"]:
        return products * torch.where(norms > 0, norms.rsqrt(), 0.0)
    return products - 0.5 * norms


def _blocks(gallery, source):
    rows = max(256, _BLOCK_BYTES // max(1, 8 * gallery.shape[1]))
    for first in range(0, len(gallery), rows):
        yield first, gallery[first : first + rows]
        mapped.release(source)
