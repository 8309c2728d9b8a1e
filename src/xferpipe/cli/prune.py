"""`xferpipe prune`: remove the weights of fine-tunes that lost a race."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.options import (
    AsJson,
    ConfigFile,
    Directory,
    Smoke,
    SnakefilePath,
    UseConda,
)
from xferpipe.cli.snakefile import find_snakefile


def prune(
    configfile: ConfigFile = None,
    directory: Directory = Path("."),
    snakefile: SnakefilePath = None,
    smoke: Smoke = False,
    use_conda: UseConda = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files; unset: list them.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the weights that `keep` of the study's races lets go, and remove them with --yes.

    Only races that have ended count. Weights of the grids' runs stay, and those that a job of the
    study still has to read. Tables keep the row of every run, and nothing runs again.

    Example: xferpipe prune --configfile study.yaml --yes
    """
    from xferpipe.config import load_study
    from xferpipe.datasets.user_files import check_user_files
    from xferpipe.graph.environment import environment_of
    from xferpipe.graph.keys import Keys
    from xferpipe.graph.prune import losers

    root = (snakefile or find_snakefile()).resolve().parent
    study = load_study(configfile or root / "config.yaml", smoke=smoke)
    # Relative paths in a study count from where it runs.
    with contextlib.chdir(directory):
        locks = Path(".snakemake", "locks")
        if yes and locks.is_dir() and any(locks.iterdir()):
            raise ValueError(
                f"{directory}: a run is going on there, or was killed; wait for its end, or run "
                "snakemake --unlock, then prune"
            )
        with look.progress("reading keys", quiet=as_json):
            check_user_files(study)
            found = losers(Keys(study, environment_of(root, conda=use_conda)), study.results)
        for loser in found if yes else ():
            (study.results / loser.path).unlink()
    if as_json:
        look.print_json(
            [{**loser.run._asdict(), "path": loser.path, "bytes": loser.size} for loser in found]
        )
        return
    for loser in found:
        typer.echo(loser.path)
    size = sum(loser.size for loser in found) / 2**20
    done = "removed" if yes else "would be removed; --yes removes them"
    typer.echo(f"{len(found)} weights, {size:.1f} MiB, {done}, in {study.results}")
