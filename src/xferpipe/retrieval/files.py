"""Evaluation of two files of features: figures, and the same tables that the workflow writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import polars

from xferpipe.config.retrieval import Retrieval
from xferpipe.records import frame, write_table
from xferpipe.retrieval import result_rows
from xferpipe.retrieval.chosen_rows import chosen_rows, junk_notes, without_identities
from xferpipe.retrieval.comparison import Progress
from xferpipe.retrieval.feature_files import FeatureFile
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.operating_point import OperatingPoints
from xferpipe.retrieval.outcomes import Outcome, outcomes
from xferpipe.retrieval.own_images import settled
from xferpipe.retrieval.pooling import pooled
from xferpipe.retrieval.shown_lists import ShownList, shown_lists
from xferpipe.retrieval.sides import Sides, alike, findings
from xferpipe.seeding import numpy_generator

_NAMED = ("identity", "camera")
#: Entries of ranked lists that are held at a time, about 2 GB of them.
_LARGEST_LISTS = 50_000_000
#: Keys that make lists, and what the command calls them.
_LENGTHS = {"query_expansion": "--query-expansion", "ranked_list_length": "--list-length"}


@dataclass(frozen=True)
class RankedFiles:
    """Figures, one row per ranking, the tables by name, and what is odd of the files in words."""

    figures: list[dict[str, Any]]
    tables: dict[str, polars.DataFrame]
    notes: list[str]
    points: OperatingPoints | None = None
    shown: list[ShownList] = field(default_factory=list)

    def write(self, output: Path) -> None:
        """Write every table into a folder."""
        for name, rows in self.tables.items():
            write_table(name, rows, Path(output) / f"{name}.parquet")
        if self.points is not None:
            self.points.table().write_csv(Path(output) / "operating_points.csv")


def ranked_files(
    query: FeatureFile,
    gallery: FeatureFile,
    options: Retrieval,
    *,
    junk_rule: str | None = None,
    leave_self_out: bool | None = None,
    drop_identities: Sequence[str] = (),
    alpha: float = 0.0,
    track: str | None = None,
    multi_query: bool = False,
    operating_points: bool = False,
    draws: int = 0,
    seed: int = 0,
    shown: int = 0,
    images: Path | None = None,
    camera_pairs: bool = False,
    lists: bool = True,
    run: Mapping[str, Any] | None = None,
    done: Callable[[RankedFiles], None] | None = None,
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
        drop_identities: Identities whose images are left out on both sides.
        alpha: Power of the cosine that weighs the images of query expansion; 0: all alike.
        track: Column of both files: images of one value are one item.
        multi_query: Queries of one identity and camera are one item.
        operating_points: Find the thresholds at which few false ones pass.
        draws: Random galleries of one image an identity, over which figures are means; 0: the
            gallery as it is.
        seed: Seed of the draws.
        shown: Worst, median and best queries to choose for a page, this many of each; needs lists.
        images: Folder that relative paths of images start from; None: the working folder.
        camera_pairs: Break the figures down by cameras.
        lists: Make the ranked lists.
        run: Values of the columns that name a run.
        done: Called with what there is after each ranking: the plain one is told whatever becomes
            of the re-ranked one.
        progress: Called with what is being done, steps done and steps in all (0 where nobody
            knows); a step of "ranking" is a gallery row compared with all queries.
    Raises:
        ValueError: The files do not fit each other, a query finds itself, or no query has a
            positive.
    """
    with without_identities(query, gallery, drop_identities) as (queries, answers):
        if track is not None:
            queries = pooled(queries, [track], side="queries")
            answers = pooled(answers, [track], side="gallery")
        if multi_query:
            cameras = ["camera"] if queries.labels["camera"].count() else []
            queries = pooled(queries, ["identity", *cameras], side="queries")
        ranking = _Ranking(queries, answers, options, junk_rule, leave_self_out, dict(run or {}))
        ranking.each, ranking.images = shown, images
        ranking.notes += junk_notes(queries.labels, answers.labels)
        if draws:
            if camera_pairs or operating_points:
                raise ValueError(
                    "--draws ranks many small galleries; leave --camera-pairs and "
                    "--operating-points out"
                )
            return ranking.run_draws(
                draws, seed, lists=lists, alpha=alpha, done=done, progress=progress
            )
        return ranking.run(
            lists=lists,
            camera_pairs=camera_pairs,
            points=operating_points,
            alpha=alpha,
            done=done,
            progress=progress,
        )


def numbered(sides: Sides) -> tuple[numpy.ndarray | None, numpy.ndarray | None]:
    """Number names alike on both sides; whole numbers stay as they are.

    Returns:
        Values of queries and gallery: int64, or float64 with NaN where some are unknown. None
        where a side has none at all.
    """
    parts = [sides.query, sides.gallery]
    if any(part.count() == 0 for part in parts):
        return None, None
    if not all(part.dtype.is_integer() for part in parts):
        both = polars.concat(parts).rank("dense").cast(polars.Int64)
        parts = [both[: len(parts[0])], both[len(parts[0]) :]]
    return tuple(part.to_numpy() for part in parts)


def one_of_each(identity: numpy.ndarray, generator: numpy.random.Generator) -> numpy.ndarray:
    """Draw one row of each identity, ascending."""
    order = generator.permutation(len(identity))
    return numpy.sort(order[numpy.unique(identity[order], return_index=True)[1]])


class _Ranking:
    """Two files of features made ready, and the rows of all tables, ranking after ranking."""

    def __init__(
        self,
        query: FeatureFile,
        gallery: FeatureFile,
        options: Retrieval,
        junk_rule: str | None,
        leave_self_out: bool | None,
        run: dict[str, Any],
    ) -> None:
        self.started = time.monotonic()
        self.query, self.gallery, self.options, self.run_columns = query, gallery, options, run
        self.notes: list[str] = []
        sides = {
            column: alike(query.labels[column], gallery.labels[column])
            for column in ("identity", "camera", "sequence")
        }
        identities = numbered(sides["identity"])
        given = {}
        for column in ("camera", "sequence"):
            numbers = numbered(sides[column])
            given |= {f"query_{column}": numbers[0], f"gallery_{column}": numbers[1]}
        labels = Labels.of(*identities, junk_rule=junk_rule, **given)
        self.notes += [side.note for side in sides.values() if side.note is not None]
        self.notes += findings(
            *(
                polars.DataFrame({name: getattr(sides[name], side) for name in _NAMED})
                for side in ("query", "gallery")
            ),
            junk_rule=labels.junk_rule,
        )
        self.junk_rule = labels.junk_rule
        cameras = [side.labels["camera"].count() for side in (query, gallery)]
        if junk_rule is None and min(cameras) == 0 < max(cameras):
            side = "queries" if cameras[0] == 0 else "gallery images"
            self.notes.append(f"the {side} have no cameras, so nothing is junk")
        self.labels = settled(
            query.features,
            gallery.features,
            labels,
            paths=(query.labels["path"], gallery.labels["path"]),
            leave_self_out=leave_self_out,
        )
        camera = given["query_camera"]
        self.asked = query.labels.with_columns(
            polars.Series("identity", labels.query_identity),
            polars.lit(None, polars.Int64).alias("camera")
            if camera is None
            else polars.Series("camera", camera, dtype=polars.Int64, strict=False),
        )
        self.each, self.images = 0, None
        self.shown: list[ShownList] = []
        self.points: OperatingPoints | None = None
        self.figures: list[dict[str, Any]] = []
        self.pairs: list[dict[str, Any]] = []
        self.parts: dict[str, list[polars.DataFrame]] = {}

    def run(
        self,
        *,
        lists: bool,
        camera_pairs: bool,
        points: bool,
        alpha: float,
        done: Callable[[RankedFiles], None] | None,
        progress: Progress | None,
    ) -> RankedFiles:
        _check_lengths(len(self.asked), len(self.gallery.labels), self.options, lists=lists)

        def add(outcome: Outcome) -> None:
            self._add(outcome)
            if done is not None:
                done(self._made(camera_pairs))

        outcomes(
            self.query.features,
            self.gallery.features,
            self.labels,
            self.options,
            reranked=(False, True) if self.options.rerank else (False,),
            lists=lists,
            pairs=camera_pairs,
            points=points,
            alpha=alpha,
            done=add,
            progress=progress,
        )
        return self._made(camera_pairs)

    def run_draws(
        self,
        draws: int,
        seed: int,
        *,
        lists: bool,
        alpha: float,
        done: Callable[[RankedFiles], None] | None,
        progress: Progress | None,
    ) -> RankedFiles:
        """Rank galleries of one random image an identity; tables are of the first, means of all."""
        whole, labels = self.gallery, self.labels
        means: dict[bool, list[dict[str, float | int]]] = {}
        for draw in range(draws):
            generator = numpy_generator(seed, "retrieve", "draw", draw)
            rows = one_of_each(labels.gallery_identity, generator)
            with chosen_rows(whole, rows) as part:
                self.gallery, self.labels = part, labels.gallery(rows)
                found = outcomes(
                    self.query.features,
                    part.features,
                    self.labels,
                    self.options,
                    reranked=(False, True) if self.options.rerank else (False,),
                    lists=lists and draw == 0,
                    alpha=alpha,
                    progress=progress,
                )
                for outcome in found:
                    means.setdefault(outcome.reranked, []).append(outcome.figures.means())
                    if draw == 0:
                        self._add(outcome)
            if progress is not None:
                progress("drawing galleries", draw + 1, draws)
        rows_of_all, self.figures = self.figures, []
        for row in rows_of_all:
            seconds = time.monotonic() - self.started
            measured = result_rows.mean_row(means[row["reranked"]])
            self.figures.append(row | measured | {"seconds": seconds})
            if done is not None:
                done(self._made(camera_pairs=False))
        return self._made(camera_pairs=False)

    def _add(self, outcome: Outcome) -> None:
        options, self.points = self.options, outcome.points or self.points
        self.figures.append(
            {
                **result_rows.mean_row([outcome.figures.means()]),
                "gallery": len(self.gallery.features),
                "distance": options.distance,
                "normalised": options.normalised,
                "ap_kind": options.ap_kind,
                "junk_rule": self.junk_rule,
                "query_expansion": options.query_expansion,
                "reranked": outcome.reranked,
                "seconds": time.monotonic() - self.started,
            }
        )
        self.pairs += outcome.pairs
        self._keep("retrieval_queries", result_rows.query_rows(outcome, self.asked))
        if outcome.lists is not None:
            self.shown = shown_lists(
                outcome, self.query.labels, self.gallery.labels, each=self.each, images=self.images
            )
            rows = result_rows.list_rows(outcome, self.asked, self.gallery.labels)
            self._keep("ranked_lists", rows)

    def _keep(self, name: str, rows: polars.DataFrame) -> None:
        self.parts.setdefault(name, []).append(rows)

    def _made(self, camera_pairs: bool) -> RankedFiles:
        run = self.run_columns
        tables = {"retrieval": frame("retrieval", [run | row for row in self.figures])}
        for name, parts in self.parts.items():
            tables[name] = result_rows.with_run(name, polars.concat(parts), run)
        if camera_pairs:
            tables["camera_pairs"] = frame("camera_pairs", [run | row for row in self.pairs])
        return RankedFiles(self.figures, tables, self.notes, self.points, self.shown)


def _check_lengths(queries: int, gallery: int, options: Retrieval, *, lists: bool) -> None:
    """Refuse lists that nobody can hold, before any work is done."""
    for name, option in _LENGTHS.items():
        length = min(getattr(options, name), gallery)
        if queries * length > _LARGEST_LISTS and (lists or name == "query_expansion"):
            raise ValueError(
                f"{name} ({option}) {length} for {queries} queries makes "
                f"{queries * length} entries; at most {_LARGEST_LISTS // queries} a query can be "
                "held"
            )
