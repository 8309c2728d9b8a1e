"""Options of the commands that read a study and the keys of its results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option(help="Study; unset: config.yaml beside the Snakefile.")
]
Directory = Annotated[Path, typer.Option(help="Folder that holds `results`.")]
SnakefilePath = Annotated[Path | None, typer.Option(help="The workflow's Snakefile.")]
Smoke = Annotated[bool, typer.Option(help="The study's smoke form.")]
UseConda = Annotated[bool, typer.Option(help="The study runs with --use-conda.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
