"""`xferpipe adopt`: take over results of another folder where their keys allow it."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import NOT_IN_ORDER, look
from xferpipe.cli.options import (
    AsJson,
    ConfigFile,
    Directory,
    Smoke,
    SnakefilePath,
    UseConda,
)
from xferpipe.cli.snakefile import find_snakefile


def adopt(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Results of another run or study, as results/digits; unset: only check."
        ),
    ] = None,
    configfile: ConfigFile = None,
    directory: Directory = Path("."),
    snakefile: SnakefilePath = None,
    smoke: Smoke = False,
    use_conda: UseConda = False,
    as_json: AsJson = False,
) -> None:
    """Check the keys in results, take over those of another folder, and list what is refused.

    A file is taken only if it carries the key that the study's own job would give it. Exit code 1:
    something was refused.

    Example: xferpipe adopt ../colleague/results/digits --configfile study.yaml
    """
    from xferpipe.config import load_study
    from xferpipe.datasets.user_files import check_user_files
    from xferpipe.graph import adopt as adopting
    from xferpipe.graph.environment import environment_of
    from xferpipe.graph.keys import Keys

    root = (snakefile or find_snakefile()).resolve().parent
    if source is not None and not source.is_dir():
        raise ValueError(f"{source}: no such folder; give the results of a study, results/<study>")
    study = load_study(configfile or root / "config.yaml", smoke=smoke)
    results = study.results
    source = None if source is None else source.absolute()
    # Relative paths in a study count from where it runs.
    with look.progress("reading keys", quiet=as_json), contextlib.chdir(directory):
        check_user_files(study)
        keys = Keys(study, environment_of(root, conda=use_conda))
        findings = list(adopting.adopt(keys, results, source))
    refused = [finding for finding in findings if finding.verdict == "refused"]
    if as_json:
        look.print_json([finding._asdict() for finding in findings])
    else:
        for finding in refused:
            typer.echo(f"refused  {finding.path}: {finding.reason}")
        counts = Counter(finding.verdict for finding in findings)
        typer.echo(
            f"{counts['present']} outputs were there, {counts['adopted']} adopted, "
            f"{counts['refused']} refused, in {results}"
        )
    if refused:
        raise typer.Exit(NOT_IN_ORDER)
