"""Table `runtime`: what each job of the study took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars

from xferpipe.records import frame


def runtime(benchmarks: Sequence[Path]) -> polars.DataFrame:
    """Read Snakemake's benchmark files.

    Args:
        benchmarks: Files `.../benchmarks/<stage>/<wildcards>.tsv`.
    Returns:
        Table `runtime`.
    """
    rows = []
    for path in benchmarks:
        below = path.parts[len(path.parts) - path.parts[::-1].index("benchmarks") :]
        # A job that ends between two samples of Snakemake has NA for what was not sampled.
        data = polars.read_csv(
            path, glob=False, separator="\t", null_values=["NA", "-"], infer_schema=False, n_rows=1
        )
        row = data.row(0, named=True)
        rows.append(
            {
                "stage": Path(below[0]).stem,
                "job": "/".join(below[1:]).removesuffix(".tsv"),
                "seconds": _number(row.get("s")),
                "cpu_seconds": _number(row.get("cpu_time")),
                "peak_mib": _number(row.get("max_rss")),
            }
        )
    return frame("runtime", rows)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
