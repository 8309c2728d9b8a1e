"""Evaluation of two files of features: figures, and the same tables that the workflow writes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars

from xferpipe.config.retrieval import Retrieval
from xferpipe.records import frame, write_table
from xferpipe.retrieval import result_rows
from xferpipe.retrieval.comparison import Progress
from xferpipe.retrieval.feature_files import FeatureFile, numbered
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.outcomes import outcomes
from xferpipe.retrieval.self_matches import settled

#: Entries of ranked lists that are held at a time, about 2 GB of them.
_LARGEST_LISTS = 50_000_000


@dataclass(frozen=True)
class RankedFiles:
    """Figures, one row per ranking, and the tables by name."""

    figures: list[dict[str, Any]]
    tables: dict[str, polars.DataFrame]

    def write(self, output: Path) -> None:
        """Write every table into a folder."""
        for name, rows in self.tables.items():
            write_table(name, rows, Path(output) / f"{name}.parquet")


def ranked_files(
    query: FeatureFile,
    gallery: FeatureFile,
    options: Retrieval,
    *,
    junk_rule: str | None = None,
    leave_self_out: bool | None = None,
    camera_pairs: bool = False,
    lists: bool = True,
    run: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> RankedFiles:
    """Rank one file of features for each row of another.

    Args:
        query: Queries.
        gallery: Gallery; a mapped one is read block by block.
        options: Distance, expansion, re-ranking, average precision, length of lists. Its junk rule
            is not used.
        junk_rule: "same_camera", "same_sequence" or "none"; None takes "same_camera" where both
            sides have cameras.
        leave_self_out: As for `evaluate`; a query is known by its path too.
        camera_pairs: Break the figures down by cameras.
        lists: Make the ranked lists.
        run: Values of the columns that name a run.
        progress: Called with what is being done, steps done and steps in all (0 where nobody
            knows); a step of "ranking" is a gallery row compared with all queries.
    Raises:
        ValueError: The files do not fit each other, a query finds itself, or no query has a
            positive.
    """
    started = time.monotonic()
    _check_lengths(len(query.features), len(gallery.features), options, lists=lists)
    identities = numbered(query.labels, gallery.labels, "identity")
    given = {}
    for column in ("camera", "sequence"):
        sides = numbered(query.labels, gallery.labels, column)
        given |= {f"query_{column}": sides[0], f"gallery_{column}": sides[1]}
    labels = Labels.of(*identities, junk_rule=junk_rule, **given)
    rule = labels.junk_rule
    labels = settled(
        query.features,
        gallery.features,
        labels,
        paths=(query.labels["path"], gallery.labels["path"]),
        leave_self_out=leave_self_out,
    )
    found = outcomes(
        query.features,
        gallery.features,
        labels,
        options,
        reranked=(False, True) if options.rerank else (False,),
        lists=lists,
        pairs=camera_pairs,
        progress=progress,
    )
    asked = query.labels.with_columns(
        polars.Series("identity", labels.query_identity),
        polars.Series("camera", given["query_camera"], dtype=polars.Int64, strict=False)
        if given["query_camera"] is not None
        else polars.lit(None, polars.Int64).alias("camera"),
    )
    made: dict[str, list[polars.DataFrame]] = {"retrieval_queries": [], "ranked_lists": []}
    figures, pairs = [], []
    for outcome in found:
        figures.append(
            {
                **result_rows.mean_row([outcome.figures.means()]),
                "gallery": len(gallery.features),
                "distance": options.distance,
                "normalised": options.normalised,
                "ap_kind": options.ap_kind,
                "junk_rule": rule,
                "query_expansion": options.query_expansion,
                "reranked": outcome.reranked,
                "seconds": time.monotonic() - started,
            }
        )
        pairs += outcome.pairs
        made["retrieval_queries"].append(result_rows.query_rows(outcome, asked))
        if outcome.lists is not None:
            made["ranked_lists"].append(result_rows.list_rows(outcome, asked, gallery.labels))
    run = dict(run or {})
    whole = {"retrieval": frame("retrieval", [run | row for row in figures])}
    for name, parts in made.items():
        if parts:
            whole[name] = result_rows.with_run(name, polars.concat(parts), run)
    if camera_pairs:
        whole["camera_pairs"] = frame("camera_pairs", [run | row for row in pairs])
    return RankedFiles(figures, whole)


def _check_lengths(queries: int, gallery: int, options: Retrieval, *, lists: bool) -> None:
    """Refuse lists that nobody can hold, before any work is done."""
    for name in ("query_expansion", "ranked_list_length"):
        length = min(getattr(options, name), gallery)
        if queries * length > _LARGEST_LISTS and (lists or name == "query_expansion"):
            raise ValueError(
                f"{name} {length} for {queries} queries makes {queries * length} entries; at most "
                f"{_LARGEST_LISTS // queries} a query can be held"
            )
