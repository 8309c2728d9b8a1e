"""The tables that a report is drawn from, and a plain word for each that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars
import pyarrow.parquet

from xferpipe.config import ReportJob
from xferpipe.records import TABLES, RecordError, empty, read_table


@dataclass(frozen=True)
class Evidence:
    """Every result table of a study; one that could not be read is empty and named in `missing`."""

    job: ReportJob
    tables: Mapping[str, polars.DataFrame]
    missing: Mapping[str, str]
    provenance: Mapping[str, str]
    pictures: Mapping[str, Path] = field(default_factory=dict)

    def __getitem__(self, table: str) -> polars.DataFrame:
        return self.tables[table]

    def places(self) -> list[tuple[str, str]]:
        """Return every (target, shots) that has a fine-tune or a score, in order of appearance."""
        pairs = [self[name].select("target", "shots") for name in ("finetunes", "scores")]
        return polars.concat(pairs).unique(maintain_order=True).rows()

    def label(self, target: str, shots: str) -> str:
        """Name a place: the target, and its shots where they are not the whole training split."""
        return target if shots == "full" else f"{target}, {shots} per class"

    def with_place(self, data: polars.DataFrame) -> polars.DataFrame:
        """Add the column `place`, the label of each row's target and shots."""
        few = polars.format("{}, {} per class", "target", "shots")
        whole = polars.col("shots") == "full"
        return data.with_columns(place=polars.when(whole).then("target").otherwise(few))


def load(job: ReportJob, tables: Path, *, pictures: Mapping[str, Path] | None = None) -> Evidence:
    """Read the tables of a study.

    Args:
        job: What the report is of.
        tables: Folder that holds `<table>.parquet`.
        pictures: Folder that the image paths of a target start from, by target; ranked lists
            show file names alone for a target that is not named here.
    Returns:
        The tables. One that is absent or unreadable is empty and named in `missing`.
    """
    read, missing, provenance = {}, {}, {}
    for name in TABLES:
        if name == "manifest":
            continue
        path = Path(tables) / f"{name}.parquet"
        try:
            read[name] = read_table(name, path)
            metadata = pyarrow.parquet.read_schema(path).metadata or {}
            provenance.update(
                {key.decode(): value.decode() for key, value in metadata.items() if value}
            )
        except RecordError as error:
            read[name] = empty(name)
            # The folder is a detail of one machine, and the page travels.
            missing[name] = str(error).replace(f"{path}", f"{name}.parquet")
    keys = ("xferpipe.version", "xferpipe.study")
    return Evidence(
        job=job,
        tables=read,
        missing=missing,
        provenance={key: provenance[key] for key in keys if key in provenance},
        pictures=dict(pictures or {}),
    )
