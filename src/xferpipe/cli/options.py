"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigFile = Annotated[
    Path | None, typer.Option(help="Study; unset: config.yaml beside the Snakefile.")
]
Results = Annotated[
    Path | None,
    typer.Option(
        "--results",
        "-r",
        help="Results of a study: results/<study>, or its folder of tables; unset: those of the "
        "one study below `results`.",
    ),
]
Directory = Annotated[Path, typer.Option(help="Folder that holds `results`.")]
SnakefilePath = Annotated[Path | None, typer.Option(help="The workflow's Snakefile.")]
Smoke = Annotated[bool, typer.Option(help="The study's smoke form.")]
UseConda = Annotated[bool, typer.Option(help="The study runs with --use-conda.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where it computes.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads that it computes with.")]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable", help="Leave out images that cannot be decoded, and list them."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
