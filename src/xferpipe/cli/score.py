"""`xferpipe score`: scores for features from anywhere, and models ranked by them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson

if TYPE_CHECKING:
    import polars

    from xferpipe.scores.feature_files import LabelledFeatures

#: What a score may need that a file can or cannot hold.
_NEEDS = {
    "source_probabilities": "probabilities of the source head, which the file does not hold",
    "gradient_grams": "gradients of the model",
    "reference_features": "a small network trained on the images",
    "class_means": "the images that the model was pretrained on",
    "class_counts": "the images that the model was pretrained on",
    "source_accuracy": "the model's card",
    "parameters": "the model's card",
}
#: A list of models by chance, which has no value for one of them.
_NO_SCORE = ("random",)
#: Keys of each of `scores` of `--json`, in their order.
JSON_KEYS = ("model", "method", "variant", "value", "rank", "reason", "low", "high", "seconds")


def score(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES",
            help="Features of labelled images under a model, one file each: .parquet as of "
            "`xferpipe features`, .csv, .npz, .npy, or a study's features.safetensors.",
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels, numbers or names, in place of the files' own: .npy, .txt, .csv, .tsv, "
            ".parquet."
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Scores by name, with commas between; unset: all that the files allow."),
    ] = None,
    bootstrap_samples: Annotated[
        int, typer.Option(min=0, help="Bootstrap draws over images for intervals; 0: none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is drawn at random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Score how well models' features fit labelled images; higher predicts better transfer.

    Several files are several models on the same images, and are ranked. A CSV has columns label and
    one of numbers a feature; an NPZ has arrays features and labels; an NPY has features alone, and
    needs --labels. docs/scores.md has the rest.

    Example: xferpipe score lite0.parquet lite1.parquet --methods lfc,logme,knn
    """
    from xferpipe.aggregate.score_ranking import mean_ranks, ranked
    from xferpipe.scores import compute
    from xferpipe.scores.feature_files import read_features

    names = None if methods is None else _names(methods)
    models = _models(files)
    tables, left_out = {}, {}
    with look.progress("reading", quiet=as_json) as progress:
        found = {model: read_features(path, labels) for model, path in models.items()}
        _check_same_images(found)
        notes = _notes(found)
        for model, read in found.items():
            allowed, without = _allowed(read)
            left_out |= without if names is None else {}
            tables[model] = compute(
                read.features,
                read.labels,
                allowed if names is None else names,
                read.source_probabilities,
                bootstrap_samples=bootstrap_samples,
                seed=seed,
                progress=progress,
            )
    order = mean_ranks(rows := ranked(tables)) if len(tables) > 1 else None
    (model, table), *_ = tables.items()
    if as_json:
        told = _with_model(table, model) if order is None else rows
        look.print_json(
            {
                "scores": told.select(JSON_KEYS).to_dicts(),
                "ranking": None if order is None else order.to_dicts(),
                "left_out": left_out,
            }
        )
        return
    if order is None:
        columns = ["method", "variant", "value", "seconds", "reason"]
        if bootstrap_samples:
            columns[3:3] = ["low", "high"]
        look.print_table(columns, table.select(columns).rows())
    else:
        _tell_ranking(rows, order)
    for note in notes:
        look.say(f"note: {note}")
    for need, kept in left_out.items():
        look.say(f"left out: {', '.join(kept)} (needs {need})")


def _names(methods: str) -> list[str]:
    from xferpipe.config.scores import module_of

    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ValueError(
            "--methods names no score; leave it out for all, or give names, with commas"
        )
    for name in names:
        module_of(name)
    return names


def _models(files: list[Path]) -> dict[str, Path]:
    """Name each file's model by the file, its folder where files have one name, or its path."""
    if twice := [path for path, count in Counter(files).items() if count > 1]:
        raise ValueError(f"{twice[0]} is given twice; expected one file a model")
    for name in (lambda path: path.stem, lambda path: path.absolute().parent.name, str):
        models = {name(path): path for path in files}
        if len(models) == len(files):
            break
    return models


def _check_same_images(found: dict[str, LabelledFeatures]) -> None:
    """Refuse files whose labels differ: a score compares models on the same images alone."""
    (first, read), *others = found.items()
    expected = Counter(read.labels.tolist())
    for model, other in others:
        given = Counter(other.labels.tolist())
        if given != expected:
            label = next(iter((given - expected) or (expected - given)))
            raise ValueError(
                f"{model} and {first} are of other images: {given[label]} and {expected[label]} "
                f"have label {label!r}, and {len(other.labels)} and {len(read.labels)} are there "
                "in all; models are compared on the same images"
            )


def _notes(found: dict[str, LabelledFeatures]) -> list[str]:
    """Say what is odd about the labels, which are those of all files."""
    from xferpipe.datasets.class_names import remarks

    read = next(iter(found.values()))
    return remarks(Counter(map(str, read.labels.tolist())))


def _allowed(read: LabelledFeatures) -> tuple[list[str], dict[str, list[str]]]:
    """Return the scores that a file allows, and those that need more, by what they need."""
    from xferpipe.scores import METHODS
    from xferpipe.scores.registry import arguments_of, resolve

    has = {"features", "labels"}
    if read.source_probabilities is not None:
        has.add("source_probabilities")
    allowed: list[str] = []
    without: dict[str, list[str]] = {}
    for name in METHODS:
        missing = [need for need in arguments_of(resolve(name))[0] if need not in has]
        if missing:
            without.setdefault(_NEEDS[missing[0]], []).append(name)
        elif name not in _NO_SCORE:
            allowed.append(name)
    return allowed, without


def _with_model(table: polars.DataFrame, model: str) -> polars.DataFrame:
    import polars

    rank = polars.lit(None, polars.Float64)
    return table.with_columns(model=polars.lit(model), rank=rank)


def _tell_ranking(rows: polars.DataFrame, order: polars.DataFrame) -> None:
    """Show the ranking, then every score of every model, the best model first."""
    if order.is_empty():
        typer.echo("No score has a value for every model, so there is no ranking.")
        models = rows["model"].unique(maintain_order=True).to_list()
    else:
        models = order["model"].to_list()
        look.print_table(
            ["model", "mean rank", "first in"],
            order.select("model", "mean_rank", "first").rows(),
        )
        typer.echo(_verdict(order) + "\n")
    told: dict[tuple[str, str], dict[str, str]] = {}
    for method, variant, model, *figures in rows.select(
        "method", "variant", "model", "value", "rank", "low", "high"
    ).rows():
        told.setdefault((method, variant), {})[model] = _figure(*figures)
    look.print_table(
        ["method", "variant", *models],
        [[*key, *(values.get(model) for model in models)] for key, values in told.items()],
    )


def _figure(
    value: float | None, rank: float | None, low: float | None, high: float | None
) -> str | None:
    if value is None:
        return None
    ends = "" if low is None else f" [{look.cell(low)}, {look.cell(high)}]"
    return f"{look.cell(value)}{ends} ({rank:g})"


def _verdict(order: polars.DataFrame) -> str:
    top = order.filter(mean_rank=order["mean_rank"][0])
    names = " and ".join(top["model"])
    stands = "stands first" if top.height == 1 else "stand first, level"
    count = order["scores"][0]
    return (
        f"{names} {stands}: mean rank {top['mean_rank'][0]:.3g} over {count} "
        f"score{'' if count == 1 else 's'}. This is a ranking by scores alone: nothing was "
        "fine-tuned, so it says nothing of how sure that is."
    )
