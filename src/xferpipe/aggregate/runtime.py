"""Table `runtime`: what each job of the study took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars

from xferpipe.records import frame


def runtime(benchmarks: Sequence[Path]) -> polars.DataFrame:
    """Read Snakemake's benchmark files, and what jobs in other processes measured themselves.

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
        row = data.row(0, named=True) | _own_figures(path)
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


def _own_figures(benchmark: Path) -> dict[str, float]:
    """Return what a job measured that ran in another process than the one Snakemake measured."""
    try:
        return json.loads(benchmark.with_suffix(".json").read_text())
    except FileNotFoundError:
        return {}


def _number(text: str | float | None) -> float | None:
    return None if text is None else float(text)
