"""`xferpipe snakefile`: where the workflow lies, for a Snakemake that is started elsewhere."""

from __future__ import annotations

from pathlib import Path

import typer

_PACKAGE = Path(__file__).resolve().parents[1]
#: Of a checkout, and of an installed wheel (see setup.py).
_PLACES = (_PACKAGE.parents[1], _PACKAGE / "workflow")


def snakefile() -> None:
    """Print where the workflow's Snakefile is: in this folder, or installed with the package.

    For Snakemake: snakemake --snakefile "$(xferpipe snakefile)" --cores all --configfile study.yaml

    Example: xferpipe snakefile
    """
    typer.echo(find_snakefile())


def find_snakefile() -> Path:
    """Return the Snakefile of the working directory, or of the checkout or wheel that runs.

    Raises:
        ValueError: There is none.
    """
    for folder in (Path.cwd(), *_PLACES):
        if (folder / "Snakefile").is_file():
            return folder / "Snakefile"
    raise ValueError(
        f"no Snakefile in {Path.cwd()}, {_PLACES[0]} or {_PLACES[1]}: run this in a checkout of "
        "xferpipe, install a wheel of it, or give --snakefile to `plan` and `adopt`"
    )
