"""`xferpipe history`: keep what a study found for later ones, and see what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.folders import tables_folder
from xferpipe.cli.options import AsJson, Results

#: Folder that kept histories lie in, below the one that the command is started in.
_KEPT = Path("history")

history = typer.Typer(help="Keep what studies found, for later ones to learn from.")


@history.command()
def add(
    results: Results = None,
    sources: Annotated[
        Path | None,
        typer.Option(
            help="CSV with columns target and source: where each target's images come from. "
            "Targets of one source are not independent; unset: each target is its own source."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write; unset: history/<study>.parquet.")
    ] = None,
    outcomes: Annotated[
        bool,
        typer.Option(help="Keep which validation images each run got right, for replays."),
    ] = False,
) -> None:
    """Keep a finished study as history: its fine-tunes, scores and models.

    Example: xferpipe history add --results results/digits
    """
    from xferpipe.evidence.compiled import history_of
    from xferpipe.records import write_table

    folder = tables_folder(results).absolute()
    study = folder.parent.name
    found = history_of(
        folder, study, {} if sources is None else _sources(sources), outcomes=outcomes
    )
    runs = found.filter(kind="run")
    if runs.is_empty():
        raise ValueError(
            f"{folder} holds no finished run with a validation figure; history is made of these"
        )
    output = output or _KEPT / f"{study}.parquet"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_table("history", found, output)
    typer.echo(
        f"{output}: {runs.height} runs of {runs['model'].n_unique()} models on "
        f"{runs.select('target', 'shots').n_unique()} targets"
    )
    typer.echo(f"A study learns from it with\n\n  history: [{output}]")


@history.command("list")
def list_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES",
            help="Files of history; unset: the package's own and those in history/.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what is kept: targets, models, recipes, runs.

    Example: xferpipe history list
    """
    import polars

    from xferpipe.config.histories import shipped
    from xferpipe.evidence.history import read_history

    for path in files or ():
        if not path.is_file():
            raise FileNotFoundError(2, "no such file; `xferpipe history add` makes one", str(path))
    found = read_history(files or [*shipped(), *sorted(_KEPT.glob("*.parquet"))])
    runs = found.filter(kind="run")
    listed = runs.group_by("study", "source", "target", "shots", maintain_order=True).agg(
        models=polars.col("model").n_unique(),
        recipes=polars.col("name").n_unique(),
        runs=polars.len(),
        best=polars.col("value").max(),
        hours=polars.col("seconds").sum() / 3600,
    )
    if as_json:
        look.print_json(listed.to_dicts())
    elif listed.is_empty():
        typer.echo("no history is kept here; `xferpipe history add` makes one of a study's tables")
    else:
        look.print_table(listed.columns, listed.rows())


def _sources(path: Path) -> dict[str, str]:
    import polars

    table = polars.read_csv(path, infer_schema=False)
    if not {"target", "source"} <= set(table.columns):
        raise ValueError(
            f"{path}: has columns {', '.join(table.columns)}; expected target and source"
        )
    return dict(table.select("target", "source").rows())
