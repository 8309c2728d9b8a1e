"""The tables that a report is drawn from, and a plain word for each that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars
import pyarrow.parquet

from xferpipe.config.jobs import ReportJob
from xferpipe.config.study import METRICS
from xferpipe.records import RecordError, empty, read_table

METRIC_WORDS = {
    "accuracy": "test accuracy",
    "balanced_accuracy": "balanced test accuracy",
    "macro_f1": "test macro-F1",
    "map": "mAP",
}

#: Tables that only some studies ask for: their absence is nothing to warn of.
_ON_DEMAND = (
    "camera_pairs",
    "minimisers",
    "distances",
    "paths",
    "forgetting",
    "feature_correlation",
    "partial_correlations",
)


@dataclass(frozen=True)
class Evidence:
    """Every result table of a study, and for the page what is known of single images.

    A table that could not be read is empty and named in `missing`. `predictions` holds what picked
    models and recipes say of test images, and `images` those of each target, as
    `target_images.TargetImages`; figures are drawn without both, so their code does not count for
    them.
    """

    job: ReportJob
    tables: Mapping[str, polars.DataFrame]
    missing: Mapping[str, str]
    provenance: Mapping[str, str]
    predictions: polars.DataFrame = field(default_factory=polars.DataFrame)
    images: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, table: str) -> polars.DataFrame:
        return self.tables[table]

    def places(self) -> list[tuple[str, str]]:
        """Return every (target, shots) that has a fine-tune or a score, in order of appearance."""
        pairs = [self[name].select("target", "shots") for name in ("finetunes", "scores")]
        return polars.concat(pairs).unique(maintain_order=True).rows()

    def labels(self) -> list[str]:
        """Return the labels of all places, in order."""
        return [self.label(*place) for place in self.places()]

    def label(self, target: str, shots: str) -> str:
        """Name a place: the target, and its shots where they are not the whole training split."""
        return place_label(target, shots)

    def with_place(self, data: polars.DataFrame) -> polars.DataFrame:
        """Add the column `place`, the label of each row's target and shots."""
        few = polars.format("{}, {} per class", "target", "shots")
        whole = polars.col("shots") == "full"
        return data.with_columns(place=polars.when(whole).then("target").otherwise(few))

    def by_place(self, data: polars.DataFrame) -> Iterator[polars.DataFrame]:
        """Yield the rows of each place, in the one order that the whole page keeps."""
        parts = data.partition_by("place", as_dict=True, maintain_order=True)
        order = {name: i for i, name in enumerate(self.labels())}
        for key in sorted(parts, key=lambda key: order.get(key[0], len(order))):
            yield parts[key]

    def judged(self, table: str) -> polars.DataFrame:
        """Return the rows of `selection` or `gains` that the page shows, with place and score.

        A place is judged by its target's figure, with each model's best recipe where several were
        run, else with the recipe that most models were run with.
        """
        data = self.with_place(self[table])
        data = data.filter(polars.col("metric").is_in(METRICS))
        counted = "models" if table == "selection" else "k"
        rank = polars.when(polars.col("recipe") == "best").then(2**31).otherwise(counted)
        # What the models reach when chosen on the test split is a leak, shown in the table alone.
        data = data.filter(polars.col("recipe") != "best_on_test").with_columns(rank=rank)
        shown = (
            data.filter(polars.col("method") != "noise_ceiling")
            .sort("rank", descending=True, maintain_order=True)
            .unique("place", maintain_order=True)
            .select("place", shown="recipe")
        )
        kept = (polars.col("recipe") == polars.col("shown")) | (
            polars.col("method") == "noise_ceiling"
        )
        named = polars.format("{} ({})", "method", "variant")
        plain = polars.col("variant").fill_null("") == ""
        return (
            data.join(shown, on="place", maintain_order="left")
            .filter(kept)
            .unique(
                ["place", "method", "variant", *(["k"] if table == "gains" else [])],
                maintain_order=True,
                keep="first",
            )
            .with_columns(score=polars.when(plain).then("method").otherwise(named))
            .drop("rank", "shown")
        )


def place_label(target: str, shots: str) -> str:
    """Name a place: the target, and its shots where they are not the whole training split."""
    return target if shots == "full" else f"{target}, {shots} per class"


def load(job: ReportJob, tables: Mapping[str, Path]) -> Evidence:
    """Read the tables of a study.

    Args:
        job: What the report is of.
        tables: File of each result table.
    Returns:
        The tables. One that is absent or unreadable is empty and named in `missing`.
    """
    read, missing, provenance = {}, {}, {}
    for name, path in tables.items():
        try:
            read[name] = read_table(name, path, ours=True)
            metadata = pyarrow.parquet.read_metadata(path).metadata or {}
            provenance.update({key.decode(): value.decode() for key, value in metadata.items()})
        except RecordError as error:
            read[name] = empty(name)
            if name in _ON_DEMAND and not path.exists():
                continue
            # The folder is a detail of one machine, and the page travels.
            missing[name] = str(error).replace(f"{path}", f"{name}.parquet")
    keys = ("xferpipe.version", "xferpipe.key")
    return Evidence(
        job=job,
        tables=read,
        missing=missing,
        provenance={key: provenance[key] for key in keys if key in provenance},
    )


def method_names(data: polars.DataFrame) -> polars.DataFrame:
    """Add the column `score`: the method, and its variant where it has one."""
    named = polars.format("{} ({})", "method", "variant")
    plain = polars.col("variant").fill_null("") == ""
    return data.with_columns(score=polars.when(plain).then("method").otherwise(named))
