"""`xferpipe recommend`: which models to fine-tune first, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.folders import tables_folder


def recommend(
    target: Annotated[str, typer.Argument(help="Target of the study.")],
    tables: Annotated[
        Path | None,
        typer.Option(help="Folder of the study's tables; unset: of the one study below `results`."),
    ] = None,
    shots: Annotated[str, typer.Option(help="Training images per class, or full.")] = "full",
    method: Annotated[
        str | None,
        typer.Option(help="Score to order by; unset: the best one on all other targets."),
    ] = None,
    variant: Annotated[str, typer.Option(help="Options of --method, as in table scores.")] = "",
    own_results: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet of fine-tuning results that you have (target, model, accuracy, "
            "balanced_accuracy, macro_f1 or map); they count beside the study's."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Models to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Say which models to fine-tune first on a target, and how sure that is.

    Example: xferpipe recommend digits_5_to_9 --shots 5
    """
    import polars

    from xferpipe.aggregate.advice import Trust, advise, choose_score
    from xferpipe.aggregate.by_model import by_model
    from xferpipe.aggregate.oracle import oracle
    from xferpipe.aggregate.selection import selection_and_gains
    from xferpipe.config.study import Selection
    from xferpipe.records import read_table

    tables = tables_folder(tables, "--tables")
    with look.progress("reading the tables", quiet=as_json) as progress:
        scores = read_table("scores", tables / "scores.parquet")
        judged = Selection(own_results=own_results)
        runs = oracle(judged, tables)
        if method is None:
            elsewhere = runs.filter(polars.col("target") != target)
            selection, _ = selection_and_gains(judged, elsewhere, scores, 0, progress=progress)
            trust = choose_score(selection, target, shots)
        else:
            trust = Trust(method, variant)
        progress("ordering the models", 0, 0)
        here = by_model(runs.filter(polars.col("target") == target, polars.col("shots") == shots))
        known = dict(here.group_by("model").agg(polars.col("value").max()).iter_rows())
        zoo = read_table("zoo", tables / "zoo.parquet")
        targets = read_table("targets", tables / "targets.parquet")
    licence = dict(targets.select("target", "licence").iter_rows()).get(target)
    advice = advise(scores, zoo, trust, target, shots, known, target_licence=licence)
    if as_json:
        look.print_json(asdict(advice))
    else:
        _print(advice, target, shots, top)


def _print(advice, target: str, shots: str, top: int) -> None:
    trust = advice.trust
    name = f"{trust.method} ({trust.variant})" if trust.variant else trust.method
    because = (
        f"rank correlation {trust.spearman:.2f} with fine-tuning on {trust.targets} other targets"
        if trust.spearman is not None
        else "as named, or for want of other fine-tunes"
    )
    typer.echo(f"{target}, shots {shots}, by {name}: {because}")
    if advice.abstains:
        typer.echo(f"No single model is recommended: {advice.abstains}.")
    typer.echo(f"Fine-tune first: {', '.join(advice.first)}")
    columns = ["model", "value", "low", "high", "metric", "licence", "source", "source_licence"]
    heads = ["model", "score", "low", "high", "known result", "weights' licence", "source"]
    heads += ["source's licence"]
    look.print_table(heads, [[row[key] for key in columns] for row in advice.models[:top]])
    typer.echo(f"Licence of the images of {target}: {advice.target_licence or '-'}")
    for warning in advice.warnings:
        look.say(f"note: {warning}")
    shown = [row["licence"] for row in advice.models[:top]] + [advice.target_licence]
    if None in shown:
        look.say("note: a dash under a licence means that the study does not state it: check it")
