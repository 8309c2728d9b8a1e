"""The retrieval stage: embed query and gallery with a fine-tuned model, rank, and write tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import polars
import torch

from xferpipe.config.jobs import RetrievalJob
from xferpipe.datasets.images import Images, open_dataset
from xferpipe.datasets.readers import reader_module
from xferpipe.records import empty, frame, write_table
from xferpipe.retrieval import result_rows
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.outcomes import Outcome, outcomes
from xferpipe.retrieval.own_images import settled
from xferpipe.retrieval.picture import draw
from xferpipe.retrieval.ranked_lists import examples
from xferpipe.retrieval.thumbnails import thumbnails
from xferpipe.training.compute import prepare
from xferpipe.training.evaluate import embed
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.resolve import resolve
from xferpipe.zoo.weights import load_model

_CURE = (
    "set retrieval.leave_self_out: true, take them out of the gallery, or give cameras and set "
    "retrieval.junk_rule: same_camera"
)


def retrieval(
    job: RetrievalJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    weights: Path,
    retrieval: Path,
    queries: Path,
    ranked_lists: Path,
    camera_pairs: Path,
    picture: Path,
    query_features: Path,
    gallery_features: Path,
) -> None:
    """Rank the gallery for every query with one fine-tuned model.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the target, with query and gallery splits.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from, and that index lists lie in.
        weights: Weights of the fine-tuned model.
        retrieval: Written: table `retrieval`, one row, two with re-ranking.
        queries: Written: table `retrieval_queries`.
        ranked_lists: Written: table `ranked_lists`, of the first gallery where there are several.
        camera_pairs: Written: table `camera_pairs`, of the first gallery; empty without cameras.
        picture: Written: PNG of the example queries and what they found.
        query_features: Written: table `retrieval_features` of the queries; empty unless the study
            keeps features.
        gallery_features: Written: the same of the gallery.
    Raises:
        DatasetError: The images or index lists cannot be used.
        WeightsError: The weights do not fit the architecture.
        ValueError: No query has a positive; says which rule removed them.
    """
    device = prepare(job.device, job.compute_threads)
    started = time.monotonic()
    rows, opened = open_dataset(job.dataset, manifest, images, root)
    features = _features(job, rows, opened, weights, device)
    collected = _Collected(job, rows, opened)
    for query, gallery in _galleries(job, rows):
        collected.add(features, query, gallery, _labels(job, rows, query, gallery, root))
    figures = collected.figures(time.monotonic() - started)
    write_table("retrieval", figures, retrieval)
    write_table("retrieval_queries", collected.table("retrieval_queries"), queries)
    write_table("ranked_lists", collected.table("ranked_lists"), ranked_lists)
    write_table("camera_pairs", collected.table("camera_pairs"), camera_pairs)
    plain = polars.col("reranked").not_()
    asked = collected.table("retrieval_queries").filter(plain & (polars.col("draw") == 0))
    draw(asked, collected.table("ranked_lists").filter(plain), picture)
    for split, path in (("query", query_features), ("gallery", gallery_features)):
        kept = empty("retrieval_features")
        if job.retrieval.keep_features:
            kept = _described(rows.filter(split=split), features)
        write_table("retrieval_features", kept, path)


class _Collected:
    """Rows of all tables of one run, gallery after gallery."""

    def __init__(self, job: RetrievalJob, manifest: polars.DataFrame, images: Images) -> None:
        self.job, self.manifest, self.images = job, manifest, images
        self.run = {
            "target": job.target_name,
            "shots": str(job.shots),
            "model": job.model,
            "recipe": job.recipe_name,
            "seed": job.seed,
        }
        self.wanted = (False, True) if job.retrieval.rerank else (False,)
        self.means: dict[bool, list[dict[str, float | int]]] = {again: [] for again in self.wanted}
        self.parts: dict[str, list[polars.DataFrame]] = {}
        self.galleries = 0

    def add(
        self,
        features: torch.Tensor,
        query: numpy.ndarray,
        gallery: numpy.ndarray,
        labels: Labels,
    ) -> None:
        """Evaluate one gallery; lists, pictures and camera pairs are those of the first."""
        first, self.galleries = self.galleries == 0, self.galleries + 1
        self.gallery_images, self.junk_rule = len(gallery), labels.junk_rule
        self.finite = bool(features.isfinite().all())
        if not self.finite:
            return
        labels = self._without_self(features, query, gallery, labels)
        found = outcomes(
            features[query],
            features[gallery],
            labels,
            self.job.retrieval,
            reranked=self.wanted,
            lists=first,
            pairs=first,
        )
        pictures = self._pictures(found, query, gallery) if first else {}
        shown = {"example_queries": self.job.retrieval.example_queries, "thumbnails": pictures}
        asked, answered = self.manifest[query], self.manifest[gallery]
        for outcome in found:
            self.means[outcome.reranked].append(outcome.figures.means())
            rows = result_rows.query_rows(outcome, asked, draw=self.galleries - 1, **shown)
            self._keep("retrieval_queries", rows)
            if outcome.lists is not None:
                self._keep("ranked_lists", result_rows.list_rows(outcome, asked, answered, **shown))
            if outcome.pairs:
                self._keep("camera_pairs", polars.DataFrame(outcome.pairs))

    def _without_self(
        self,
        features: torch.Tensor,
        query: numpy.ndarray,
        gallery: numpy.ndarray,
        labels: Labels,
    ) -> Labels:
        """Leave the queries' own copies out, or refuse them."""

        def same_pixels(asked: numpy.ndarray, found: numpy.ndarray) -> numpy.ndarray:
            pairs = zip(query[asked], gallery[found], strict=True)
            equal = (torch.equal(*pair) for pair in self.images.batches(pairs))
            return numpy.fromiter(equal, dtype=bool, count=len(asked))

        leave_self_out = self.job.retrieval.leave_self_out or None
        if labels.junk_rule == "index_lists" and not leave_self_out:
            leave_self_out = False  # Those lists are the authors' word.
        paths = self.manifest["path"]
        return settled(
            features[query],
            features[gallery],
            labels,
            paths=(paths.gather(query), paths.gather(gallery)),
            leave_self_out=leave_self_out,
            same_pixels=same_pixels,
            cure=f"Junk rule {labels.junk_rule} leaves them there: {_CURE}",
        )

    def figures(self, seconds: float) -> polars.DataFrame:
        """Return table `retrieval`: means over galleries, or why there are none."""
        options = self.job.retrieval
        rows = []
        for reranked in self.wanted:
            row: dict[str, Any] = self.run | {
                "distance": options.distance,
                "normalised": options.normalised,
                "ap_kind": options.ap_kind,
                "junk_rule": self.junk_rule,
                "query_expansion": options.query_expansion,
                "reranked": reranked,
                "gallery": self.gallery_images,
                "draws": self.galleries,
                "seconds": seconds,
            }
            if self.finite:
                row |= result_rows.mean_row(self.means[reranked])
            else:
                row["reason"] = "the features hold NaN or infinity: the fine-tune diverged"
            rows.append(row)
        return frame("retrieval", rows)

    def table(self, name: str) -> polars.DataFrame:
        """Return all rows of a table."""
        return polars.concat([empty(name), *self.parts.get(name, [])])

    def _keep(self, name: str, rows: polars.DataFrame) -> None:
        self.parts.setdefault(name, []).append(result_rows.with_run(name, rows, self.run))

    def _pictures(
        self, found: list[Outcome], query: numpy.ndarray, gallery: numpy.ndarray
    ) -> dict[int, bytes]:
        """Draw the example queries of every ranking and what they found."""
        wanted: list[int] = []
        for outcome in found:
            for at in examples(outcome.figures, self.job.retrieval.example_queries):
                wanted += [query[at], *gallery[outcome.lists.gallery[at]]]
        return thumbnails(self.images, map(int, wanted))


def _features(
    job: RetrievalJob,
    manifest: polars.DataFrame,
    images: Images,
    weights: Path,
    device: torch.device,
) -> torch.Tensor:
    """Return features by manifest row, float32 (n, d); rows that are not tested stay empty."""
    tested = polars.col("split").is_in(["query", "gallery"])
    rows = manifest.filter(tested)["row"].to_numpy()
    model = load_model(job.spec, weights).to(device)
    unlabelled = numpy.zeros(len(rows), dtype=numpy.int64)
    # Sizes of evaluation follow from the images' size alone, not from how many there are.
    recipe = resolve(job.recipe, images=len(rows), image_px=job.dataset.image_px)
    tested_images = LabelledImages(images, rows, unlabelled, job.spec, device, recipe)
    found, _ = embed(model, tested_images)
    features = torch.zeros((len(manifest), found.shape[1]))
    features[torch.tensor(rows)] = found
    return features


def _described(images: polars.DataFrame, features: torch.Tensor) -> polars.DataFrame:
    """Return table `retrieval_features` of some rows of the manifest.

    Args:
        images: Rows of table `manifest`.
        features: By manifest row, float32 (n, d).
    """
    own = features[torch.tensor(images["row"].to_numpy())].numpy()
    labels = [name for name in empty("retrieval_features").columns if name in images.columns]
    numbers = polars.Series("feature", own).cast(polars.List(polars.Float32))
    return images.select(labels).with_columns(numbers)


def _galleries(
    job: RetrievalJob, manifest: polars.DataFrame
) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield manifest rows of the queries and of the gallery, for each gallery of the protocol."""
    reader = reader_module(job.dataset.reader)
    if hasattr(reader, "galleries"):
        yield from reader.galleries(job.dataset, manifest, seed=job.study_seed)
        return
    yield tuple(
        manifest.filter(polars.col("split") == split)["row"].to_numpy().copy()
        for split in ("query", "gallery")
    )


def _labels(
    job: RetrievalJob,
    manifest: polars.DataFrame,
    query: numpy.ndarray,
    gallery: numpy.ndarray,
    root: Path | None,
) -> Labels:
    """Return what is known of the images; without any camera nothing is junk by camera."""
    asked, answered = manifest[query], manifest[gallery]
    known = {
        f"{side}_{column}": rows[column].to_numpy()
        for column in ("camera", "sequence")
        for side, rows in (("query", asked), ("gallery", answered))
        if asked[column].count() and answered[column].count()
    }
    rule = job.retrieval.junk_rule
    if rule == "same_camera" and "query_camera" not in known:
        rule = "none"
    if rule == "index_lists":
        reader = reader_module(job.dataset.reader)
        paths = (asked["path"].to_list(), answered["path"].to_list())
        known["positives"], known["junk"] = reader.index_lists(root, *paths)
    return Labels.of(
        asked["identity"].to_numpy(), answered["identity"].to_numpy(), junk_rule=rule, **known
    )
