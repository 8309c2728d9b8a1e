"""Code blocks of every page: commands are read as the program reads them, Python runs.

Blocks of `sh` and `python` run in a test. Those of `bash` need what a test has not (a network, a
cluster, somebody else's results, hours): of these, `xferpipe` must know every word.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy
import polars
import pytest
import torch
from typer.main import get_command

from xferpipe import scores
from xferpipe.cli import application

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Pages whose `sh` and `python` blocks are run, here or in the test beside.
RUN = {
    "README.md", "docs/cli.md", "docs/extending.md", "docs/minimisers.md", "docs/retrieval.md",
    "docs/scores.md", "docs/tutorial.md", "docs/tutorial_solar_cells.md",
}  # fmt: skip
_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
_INLINE = re.compile(r"`(xferpipe [^`]+)`")
R = numpy.random.default_rng(0)


def commands():
    """Yield the page and the words of every xferpipe command in a block."""
    for page in PAGES:
        for language, text in _FENCED.findall(page.read_text()):
            if language in ("", "sh", "bash", "text"):
                for line in text.splitlines():
                    found = re.match(r"(?:\.venv/bin/)?xferpipe (.*)", line)
                    if found:
                        yield page.relative_to(ROOT).as_posix(), found[1]


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_command_of_the_docs_is_one_that_the_program_reads(page, line):
    command, words = get_command(application()), shlex.split(line, comments=True)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: xferpipe {line}"
        command, words = command.commands[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(line, words)  # Raises where an option or a value is none.


def test_pages_with_blocks_that_run_are_known():
    found = {
        page.relative_to(ROOT).as_posix()
        for page in PAGES
        if {"sh", "python"} & {language for language, _ in _FENCED.findall(page.read_text())}
    }
    assert found == RUN


def executed(page, names):
    """Run the Python blocks of a page with some names defined; return all names."""
    for block in page.blocks():
        if block.language == "python":
            exec(compile(block.text, "block", "exec"), names)
    return names


def test_scores_page_blocks_run(page):
    scores_page = page("docs/scores.md")
    labels = numpy.arange(40) % 2
    features = R.normal(size=(40, 6)) + labels[:, None]
    found = executed(scores_page, {"features": features, "labels": labels})
    assert set(found["table"]["method"]) == {"lfc", "logme"}
    assert found["value"] == scores.h_score(features, labels)
    for name in ("features", "lite0", "lite1", "lite2"):
        rows = {"label": labels, "feature": (features + R.normal(size=features.shape)).tolist()}
        polars.DataFrame(rows).write_parquet(scores_page.folder / f"{name}.parquet")
    numpy.save(scores_page.folder / "resnet50.npy", features)
    (scores_page.folder / "labels.txt").write_text("ash\nbirch\n" * 20)
    (block,) = [block for block in scores_page.blocks() if block.language == "sh"]
    assert "stands first: mean rank" in scores_page.do(block)


def test_retrieval_page_block_runs(page):
    identity = numpy.arange(12) % 4
    features = R.normal(size=(12, 5))
    found = executed(
        page("docs/retrieval.md"),
        {
            "query": features[:4], "gallery": features[4:], "query_identity": identity[:4],
            "gallery_identity": identity[4:], "query_camera": numpy.zeros(4, int),
            "gallery_camera": numpy.ones(8, int),
        },
    )  # fmt: skip
    assert 0 <= found["figures"]["map"] <= 1


def test_minimisers_page_block_runs(page, capsys):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3)).eval()
    names = {
        "model": model, "labels": torch.arange(9) % 3,
        "uint8_images": torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8),
    }  # fmt: skip
    executed(page("docs/minimisers.md"), names)
    assert "noise" in capsys.readouterr().out
