"""The last lines of a run: which model to fine-tune, and where the report is."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from xferpipe.console.words import program
from xferpipe.graph.rules import Rules
from xferpipe.graph.stage import Artifact
from xferpipe.graph.stages import path_of

#: Answers that are shown; the page has the others.
SHOWN = 6


def verdict_lines(rules: Rules, here: Path) -> list[str]:
    """Return the report's answers, one line each, and the path of the page.

    Args:
        rules: The study, and where its results lie below the working directory.
        here: Folder that Snakemake was started in; the page's path starts from there.
    Returns:
        Lines; none where the results have no page.
    """
    page = rules.results / "report.html"
    if not page.is_file():
        return []
    # Late: a run that fails, and every dry run, does without these imports.
    from xferpipe.records import result_files
    from xferpipe.report.answer_words import all_words
    from xferpipe.report.evidence import load

    # The other tables may be large, and the answer does not need them.
    needed = ("answers", "finetunes")
    files = result_files(rules.results / "tables")
    tables = {name: files[name] for name in needed}
    words = list(all_words(load(rules.keys.job(("report",)), tables)).values())
    lines = [answer.in_one_line for answer in words[:SHOWN]]
    if len(words) > SHOWN:
        lines.append(f"and {len(words) - SHOWN} more targets")
    return [*lines, f"Report: {shown_path(page, here)}", *_use_lines(rules, here)]


def _use_lines(rules: Rules, here: Path) -> list[str]:
    """Say how to use the models that were exported."""
    cards = [
        rules.results / path_of(Artifact("export", place, "card"))
        for place in rules.study.exported()
    ]
    folders = [shlex.quote(shown_path(card.parent, here)) for card in cards if card.is_file()]
    return [f"Use it: {program('xferpipe')} predict {folder} PHOTOS" for folder in folders[:SHOWN]]


def shown_path(path: Path, here: Path) -> str:
    """Write a path from the folder a person is in, or whole where it lies outside of that."""
    whole = os.path.abspath(path)
    return os.path.relpath(whole, here) if Path(whole).is_relative_to(here) else whole
