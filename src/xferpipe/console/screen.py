"""Lines on a terminal or in a file; on a terminal a bar below them."""

from __future__ import annotations

import textwrap
import threading
from typing import Any, TextIO

from xferpipe.console.run import Run
from xferpipe.console.words import duration, shortened

#: Running jobs that are named below the bar.
NAMED = 4
#: In a file, after so long without a line, the running jobs are named.
SILENCE_SECONDS = 600


class Screen:
    """Where a run is told.

    Args:
        stream: Where lines go.
        colours: Whether a terminal may be given colours.
    """

    def __init__(self, stream: TextIO, *, colours: bool) -> None:
        self._stream = stream
        self._colours = colours
        self._live: Any = None
        self._written = 0
        self._ended = threading.Event()

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks on."""
        return self._stream.isatty()

    def line(self, text: str, style: str = "") -> None:
        """Write one line, or several, above the bar."""
        self._written += 1
        if not self.is_terminal:
            self._stream.write(f"{text}\n")
            self._stream.flush()
            return
        from rich.text import Text

        self._console().print(Text(text, style=style), soft_wrap=True)

    def follow(self, run: Run) -> None:
        """Draw a bar for a run from now on; where there is no terminal, name jobs that are long."""
        if not self.is_terminal or self._console().is_dumb_terminal:
            threading.Thread(target=self._break_silence, args=(run,), daemon=True).start()
            return
        from rich.live import Live

        self._live = Live(
            get_renderable=lambda: _drawn(run, self._console().width),
            console=self._console(),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _break_silence(self, run: Run) -> None:
        """Name the running jobs where nothing else was written for long."""
        written = self._written
        while not self._ended.wait(SILENCE_SECONDS):
            if self._written == written and run.running:
                jobs = list(run.running.values())
                named = "; ".join(f"{job.words}, {duration(job.seconds)}" for job in jobs[:NAMED])
                more = f"; and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
                self.line(shortened(f"running: {named}{more}"))
            written = self._written

    def end(self) -> None:
        """Take the bar away."""
        self._ended.set()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _console(self) -> Any:
        if not hasattr(self, "_rich"):
            from rich.console import Console

            self._rich = Console(
                file=self._stream, no_color=not self._colours, highlight=False, markup=False
            )
        return self._rich


def _drawn(run: Run, width: int) -> Any:
    """Draw the bar, with the first jobs that run below it."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    left = run.seconds_left()
    times = f"{duration(run.seconds)} used"
    times += "" if left is None else f", about {duration(left)} left"
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(run.total, 1), completed=run.done, width=min(40, width // 3))
    grid.add_row(bar, Text(f"{run.done} of {run.total} jobs"), Text(times))
    running = list(run.running.values())
    lines = [Text(shortened(f"  {job.words}, {duration(job.seconds)}", width)) for job in running]
    if len(lines) > NAMED:
        lines[NAMED:] = [Text(f"  and {len(lines) - NAMED} more")]
    return Group(grid, *lines)


def indented(text: str, longest: int = 160, most: int = 12) -> str:
    """Set a message below a line: folded between words, and its end left out where it is long."""
    folded = [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, longest - 8, break_long_words=False, break_on_hyphens=False)
    ]
    if len(folded) > most:
        folded[most:] = [f"... ({len(folded) - most} more lines in the log)"]
    return textwrap.indent("\n".join(folded), " " * 8)
