"""One comparison, evaluated in every way that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.camera_pairs import camera_pairs
from xferpipe.retrieval.comparison import Comparison, Progress, compared
from xferpipe.retrieval.expansion import expanded
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.operating_point import OperatingPoints, operating_points
from xferpipe.retrieval.query_figures import QueryFigures, rank
from xferpipe.retrieval.ranked_lists import RankedLists, ranked_lists
from xferpipe.retrieval.reranking import Reranking


@dataclass(frozen=True)
class Outcome:
    """What one ranking of a gallery came to.

    Attributes:
        reranked: After k-reciprocal re-ranking.
        figures: One value per query.
        lists: The first images of each ranking, where they were asked for.
        pairs: Rows of table `camera_pairs`, where they were asked for; not with re-ranking.
        points: Thresholds of the plain ranking, where they were asked for.
    """

    reranked: bool
    figures: QueryFigures
    lists: RankedLists | None
    pairs: list[dict[str, Any]]
    points: OperatingPoints | None = None


def outcomes(
    query: Any,
    gallery: Any,
    labels: Labels,
    options: Retrieval,
    *,
    reranked: Sequence[bool],
    lists: bool = False,
    pairs: bool = False,
    points: bool = False,
    alpha: float = 0.0,
    done: Callable[[Outcome], None] | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Rank a gallery for each query, without and with re-ranking.

    Args:
        query: Features, floating point (q, d): array or tensor.
        gallery: Features (m, d): array, tensor or memory-mapped array.
        labels: Identities, cameras and junk rule.
        options: Distance, expansion, re-ranking, average precision, length of lists.
        reranked: Which rankings are wanted: False is the plain one.
        lists: List the first images too.
        pairs: Break the plain ranking down by cameras too; copies one camera's images at a time.
        points: Find thresholds for the plain ranking too; takes a second pass in float64.
        alpha: Power of the cosine that weighs the images of query expansion; 0: all alike.
        done: Called with each outcome as soon as it is there.
        progress: Called with what is being done, steps done and steps in all.
    Returns:
        One outcome per wanted ranking, in that order.
    Raises:
        ValueError: Shapes do not fit, a row holds NaN or infinity, or no query has a positive.
    """
    labels.check_sizes(len(query), len(gallery))
    with compared(
        query,
        gallery,
        distance=options.distance,
        normalised=options.normalised,
        progress=progress,
    ) as comparison:
        comparison = expanded(comparison, options.query_expansion, alpha=alpha, progress=progress)
        found = []
        for again in reranked:
            if again:
                outcome = _reranked(comparison, labels, options, lists=lists, progress=progress)
            else:
                outcome = _plain(
                    comparison, labels, options, lists=lists, pairs=pairs, progress=progress
                )
                if points:
                    outcome = replace(outcome, points=operating_points(comparison, labels))
            found.append(outcome)
            if done is not None:
                done(outcome)
    return found


def _plain(
    comparison: Comparison,
    labels: Labels,
    options: Retrieval,
    *,
    lists: bool,
    pairs: bool,
    progress: Progress | None,
) -> Outcome:
    kind, length = options.ap_kind, options.ranked_list_length
    figures = rank(comparison, labels, ap_kind=kind, progress=progress)
    first = ranked_lists(comparison, labels, length, progress=progress) if lists else None
    rows = camera_pairs(comparison, labels, ap_kind=kind, progress=progress) if pairs else []
    return Outcome(False, figures, first, rows)


def _reranked(
    comparison: Comparison,
    labels: Labels,
    options: Retrieval,
    *,
    lists: bool,
    progress: Progress | None,
) -> Outcome:
    ranking = Reranking(comparison, options, progress=progress)
    figures = ranking.rank(labels, ap_kind=options.ap_kind, progress=progress)
    length = options.ranked_list_length
    first = ranking.lists(labels, length, progress=progress) if lists else None
    return Outcome(True, figures, first, [])
