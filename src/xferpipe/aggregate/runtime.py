"""Table `runtime`, and the seconds of feature passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars

from xferpipe.records import RecordError, frame, read_metadata


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


def feature_pass_seconds(paths: Sequence[Path]) -> dict[tuple[str, str, str], float]:
    """Return the seconds of each feature pass.

    Args:
        paths: Files `.../<target>/<shots>/<model>/features.safetensors`.
    Returns:
        Seconds by (target, shots, model), from the files' metadata.
    """
    return {tuple(path.parent.parts[-3:]): _seconds(path) for path in paths}


def _seconds(path: Path) -> float:
    # The metadata alone: the tensors of a large study are gigabytes.
    text = read_metadata(path).get("seconds", "0")
    try:
        return float(text)
    except ValueError:
        raise RecordError(
            f"{path}: its metadata say {text!r} seconds, expected a number; delete it to rebuild it"
        ) from None
