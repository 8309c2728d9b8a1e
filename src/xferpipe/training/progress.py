"""What a person sees of a run: a bar in a terminal, one line per epoch in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Called by the loop."""

    def step(self) -> None:
        """One optimiser step is done."""

    def epoch(self, text: str) -> None:
        """One epoch is done."""


class _Nothing:
    def step(self) -> None:
        pass

    def epoch(self, text: str) -> None:
        pass


class _Lines(_Nothing):
    def epoch(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(name: str, *, steps: int, done: int = 0, quiet: bool = False) -> Iterator[Progress]:
    """Show a run's progress.

    Args:
        name: What is trained.
        steps: Optimiser steps of the run.
        done: Steps that a resumed run has behind it.
        quiet: Show nothing: another process does.
    """
    if quiet:
        yield _Nothing()
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    import rich.console
    import rich.progress

    console = rich.console.Console(stderr=True)
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=steps, completed=done)

        class Bar:
            def step(self) -> None:
                bar.advance(task)

            def epoch(self, text: str) -> None:
                bar.console.print(text, highlight=False)

        yield Bar()
