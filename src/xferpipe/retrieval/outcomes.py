"""One comparison, evaluated in every way that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.camera_pairs import camera_pairs
from xferpipe.retrieval.comparison import Progress, compared
from xferpipe.retrieval.expansion import expanded
from xferpipe.retrieval.labels import Labels
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
    """

    reranked: bool
    figures: QueryFigures
    lists: RankedLists | None
    pairs: list[dict[str, Any]]


def outcomes(
    query: Any,
    gallery: Any,
    labels: Labels,
    options: Retrieval,
    *,
    reranked: Sequence[bool],
    lists: bool = False,
    pairs: bool = False,
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
        progress: Called with what is being done, steps done and steps in all.
    Returns:
        One outcome per wanted ranking, in that order.
    Raises:
        ValueError: Shapes do not fit, a row holds NaN or infinity, or no query has a positive.
    """
    labels.check_sizes(len(query), len(gallery))
    kind = options.ap_kind
    with compared(
        query,
        gallery,
        distance=options.distance,
        normalised=options.normalised,
        progress=progress,
    ) as comparison:
        comparison = expanded(comparison, options.query_expansion, progress=progress)
        found = []
        length = options.ranked_list_length
        for again in reranked:
            if again:
                ranking = Reranking(comparison, options, progress=progress)
                figures = ranking.rank(labels, ap_kind=kind, progress=progress)
                first = ranking.lists(labels, length, progress=progress) if lists else None
                found.append(Outcome(True, figures, first, []))
                continue
            figures = rank(comparison, labels, ap_kind=kind, progress=progress)
            first = ranked_lists(comparison, labels, length, progress=progress) if lists else None
            rows = (
                camera_pairs(comparison, labels, ap_kind=kind, progress=progress) if pairs else []
            )
            found.append(Outcome(False, figures, first, rows))
    return found
