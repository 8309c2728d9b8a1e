"""`xferpipe score`: scores for features from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson

if TYPE_CHECKING:
    import numpy

#: Keys of `--json`, in their order.
JSON_KEYS = ("method", "variant", "value", "reason", "seconds")


def score(
    input: Annotated[
        Path,
        typer.Option(
            help="Parquet with one row an image: `label` (integer), `feature` (list of float) and, "
            "for LEEP and its kin, `source_probability` (list of float)."
        ),
    ],
    methods: Annotated[
        str | None, typer.Option(help="Scores by name, with commas between; unset: all.")
    ] = None,
    bootstrap_samples: Annotated[
        int, typer.Option(min=0, help="Bootstrap draws over images for intervals; 0: none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is drawn at random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Score how well a model's features fit labelled images; higher predicts better transfer.

    Example: xferpipe score --input features.parquet --methods lfc,logme,knn
    """
    from xferpipe.scores import compute

    with look.progress("reading", quiet=as_json) as progress:
        features, labels, probabilities = read_features(input)
        table = compute(
            features,
            labels,
            None if methods is None else _names(methods),
            probabilities,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
            progress=progress,
        )
    if as_json:
        look.print_json(table.select(JSON_KEYS).to_dicts())
        return
    columns = ["method", "variant", "value", "seconds", "reason"]
    if bootstrap_samples:
        columns[3:3] = ["low", "high"]
    look.print_table(columns, table.select(columns).rows())


def _names(methods: str) -> list[str]:
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ValueError(
            "--methods names no score; leave it out for all, or give names, with commas"
        )
    return names


def read_features(path: Path) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray | None]:
    """Read features, labels and, where there are any, the source head's probabilities.

    Args:
        path: Parquet with columns `label`, `feature` and perhaps `source_probability`.
    Returns:
        Features, float (n, d); labels, integer (n); probabilities, float (n, z), or None.
    Raises:
        ValueError: The file is no such table, or cannot be read.
    """
    import polars

    from xferpipe.records import UNREADABLE

    if not path.is_file():
        raise ValueError(
            f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected a Parquet file"
        )
    try:
        table = polars.read_parquet(path, glob=False)
    except UNREADABLE as error:
        words = str(error).splitlines()[0]
        raise ValueError(f"{path}: expected a Parquet file ({words})") from None
    missing = {"label", "feature"} - set(table.columns)
    if missing:
        raise ValueError(
            f"{path}: has columns {', '.join(table.columns)} but not {', '.join(sorted(missing))}; "
            "expected label (integer), feature (list of float) and perhaps source_probability"
        )
    label = table["label"]
    if not label.dtype.is_integer() or label.null_count():
        raise ValueError(
            f"{path}: label has type {label.dtype} and {label.null_count()} nulls; expected an "
            "integer in every row"
        )
    probabilities = None
    if "source_probability" in table.columns:
        probabilities = _matrix(table, "source_probability", path)
    return _matrix(table, "feature", path), label.to_numpy(), probabilities


def _matrix(table, name: str, path: Path) -> numpy.ndarray:
    import polars

    column = table[name]
    nested = isinstance(column.dtype, polars.List | polars.Array)
    if not nested or not column.dtype.inner.is_numeric() or column.null_count():
        raise ValueError(
            f"{path}: {name} has type {column.dtype} and {column.null_count()} nulls; expected a "
            "list of numbers in every row"
        )
    if isinstance(column.dtype, polars.List):
        lengths = column.list.len().unique().to_list()
        if len(lengths) > 1:
            raise ValueError(
                f"{path}: {name} has lists of {min(lengths)} to {max(lengths)} numbers; expected "
                "one length"
            )
        column = column.list.to_array(lengths[0] if lengths else 0)
    return column.to_numpy()
