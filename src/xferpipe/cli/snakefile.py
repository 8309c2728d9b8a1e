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


def own_snakefile() -> Path:
    """Return the Snakefile of the checkout or wheel that runs, whatever the present folder holds.

    Raises:
        ValueError: There is none.
    """
    return _first(_PLACES)


def find_snakefile() -> Path:
    """Return the Snakefile of the working directory, or of the checkout or wheel that runs.

    Raises:
        ValueError: There is none.
    """
    return _first((Path.cwd(), *_PLACES))


def _first(folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        if (folder / "Snakefile").is_file():
            return folder / "Snakefile"
    places = " or ".join([", ".join(map(str, folders[:-1])), str(folders[-1])])
    raise ValueError(
        f"no Snakefile in {places}: run this in a checkout of xferpipe, install a wheel of it, or "
        "give --snakefile to `plan` and `adopt`"
    )
