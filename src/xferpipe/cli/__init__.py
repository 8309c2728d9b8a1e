"""The command line: `xferpipe COMMAND`, one module each.

A module of this package that has a function (or a group) of its own name is a command, so adding
one changes no list. Commands import what they compute with when they run: help stays fast.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import typer

#: Exit codes, documented in docs/cli.md.
DONE, NOT_IN_ORDER, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

_SOURCES = str(Path(__file__).resolve().parents[1])


def application() -> typer.Typer:
    """Build the command line from the modules of this package."""
    found = typer.Typer(
        name="xferpipe",
        help="Which pretrained model should I fine-tune for my images, and how?",
        epilog="Exit codes: 0 done, 1 something is not in order, 2 wrong input, 130 interrupted. "
        "XFERPIPE_TRACEBACK=1 shows where an error comes from.",
        no_args_is_help=True,
        # Plain text: columns and frames would cut long names of options off at 80 columns.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    found.callback()(_options)
    for module in pkgutil.iter_modules(__path__):
        command = getattr(importlib.import_module(f"{__name__}.{module.name}"), module.name, None)
        if isinstance(command, typer.Typer):
            found.add_typer(command, name=module.name)
        elif callable(command):
            found.command(module.name)(command)
    _say_whole_sentences(found)
    return found


def _say_whole_sentences(application: typer.Typer) -> None:
    """Let lists of commands wrap what a command does; without a short help, click cuts it off."""
    for group in application.registered_groups:
        group.short_help = group.typer_instance.info.help
        _say_whole_sentences(group.typer_instance)
    for command in application.registered_commands:
        text = inspect.getdoc(command.callback) or ""
        command.short_help = " ".join(text.partition("\n\n")[0].split())


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("xferpipe"))
        except PackageNotFoundError:
            typer.echo("unknown (not installed)")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and leave."
    ),
) -> None:
    """Which pretrained model should I fine-tune for my images, and how?"""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    An error that this package raises on purpose becomes one message and exit code 2; one that
    comes out of a library is a fault of ours and keeps its traceback.

    Args:
        arguments: Words after `xferpipe`; unset: those of the process.
    """
    try:
        application()(arguments, prog_name="xferpipe")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, RuntimeError, OSError) as error:
        if os.environ.get("XFERPIPE_TRACEBACK") or not _on_purpose(error):
            raise
        typer.secho(f"error: {_words(error)}", err=True, fg=typer.colors.RED)
        sys.exit(WRONG_INPUT)
    sys.exit(DONE)


def _on_purpose(error: Exception) -> bool:
    """Tell whether our own code raised the error; a file that cannot be read is no fault of it."""
    if isinstance(error, OSError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_SOURCES)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
