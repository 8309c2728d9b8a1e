"""Progress: one look in a terminal, from two seconds on, and nothing anywhere else."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time

import numpy
import polars
import pytest
from terminal import CODES, in_terminal

from xferpipe.cli import INTERRUPTED, look
from xferpipe.records import frame, write_table


class Terminal(io.StringIO):
    """A screen that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


#: Every command is slowed down where its work is done, so that the bar has time to show.
SLOW = """
import sys, time
from xferpipe.cli import look, main

look.QUIET_SECONDS = 0.2

def slowed(module, name, seconds):
    found = __import__(module, fromlist=[name])
    function = getattr(found, name)
    def wait(*arguments, **named):
        time.sleep(seconds)
        return function(*arguments, **named)
    setattr(found, name, wait)

{slow}
main(sys.argv[1:])
"""


def test_progress_outside_a_terminal_prints_nothing(capsys, monkeypatch):
    monkeypatch.setattr(look, "QUIET_SECONDS", 0.0)
    with look.progress("working") as report:
        report("working", 1, 3)
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "quiet", "shown"), [(0.0, False, True), (60.0, False, False), (0.0, True, False)]
)
def test_progress_in_a_terminal_shows_only_after_a_while(monkeypatch, seconds, quiet, shown):
    """By the clock alone: the first step may be the long one."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(look, "QUIET_SECONDS", seconds)
    with look.progress("working", quiet=quiet):
        time.sleep(0.4)
    assert ("working" in screen.getvalue()) is shown


def test_progress_says_what_how_far_and_how_long_still(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(look, "QUIET_SECONDS", 0.0)
    with look.progress("reading") as report:
        for done in range(6):
            report("ranking", done, 10)
            time.sleep(0.12)
    text = CODES.sub("", screen.getvalue())
    assert "reading" in text
    assert re.search(r"ranking .*5/10 0:00:0\d left 0:00:0\d", text)


def test_progress_of_an_error_takes_the_bar_away(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(look, "QUIET_SECONDS", 0.0)
    with pytest.raises(ZeroDivisionError), look.progress("working"):
        print(1 / (time.sleep(0.2) or 0))
    assert screen.getvalue().endswith("\x1b[2K")


@pytest.fixture
def files(tmp_path):
    """Features and tables, in a folder whose name needs quotes."""
    folder = tmp_path / 'it\'s a "folder"'
    folder.mkdir()
    random = numpy.random.default_rng(0)
    for name, rows in (("query", 20), ("gallery", 3000)):
        feature = polars.Series(random.normal(size=(rows, 8))).cast(polars.Array(polars.Float32, 8))
        identity = random.integers(0, 9, rows)
        columns = {"identity": identity, "label": identity, "feature": feature}
        polars.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    run = {"target": "a", "shots": "full", "model": "m"}
    write_table(
        "scores",
        frame("scores", [run | {"method": "lfc", "variant": "", "value": 0.5}]),
        folder / "scores.parquet",
    )
    finished = {"recipe": "r", "seed": 0, "task": "classification", "status": "finished"}
    figure = {"judged_by": "accuracy", "test_accuracy": 0.9}
    finetunes = frame("finetunes", [run | finished | figure])
    write_table("finetunes", finetunes, folder / "finetunes.parquet")
    answer = {"target": "a", "shots": "full", "model": "m", "recipe": "r", "basis": "nothing"}
    write_table("answers", frame("answers", [answer]), folder / "answers.parquet")
    write_table("zoo", frame("zoo", [{"model": "m"}]), folder / "zoo.parquet")
    write_table("targets", frame("targets", [{"target": "a"}]), folder / "targets.parquet")
    return folder


COMMANDS = {
    "retrieve": (
        "slowed('xferpipe.ops.rank_metrics', 'call', 0.4)",
        r"ranking .*\d/3000 .*left \d:\d\d:\d\d",
        ["retrieve", "--query", "{}/query.parquet", "--gallery", "{}/gallery.parquet"],
    ),
    "score": (
        "slowed('xferpipe.scores.score_table', '_rows', 0.4)",
        r"scoring .*2/3 .*left 0:00:0\d",
        ["score", "{}/query.parquet", "--methods", "lfc,h_score,knn"],
    ),
    "export": (
        "slowed('xferpipe.records', 'load_table', 0.4)",
        r"reading scores",
        ["tables", "export", "scores", "--results", "{}", "--output", "{}/scores.csv"],
    ),
    "recommend": (
        "slowed('xferpipe.records', 'read_table', 0.4)",
        r"reading the tables",
        ["recommend", "a", "--results", "{}"],
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_long_command_shows_progress_in_a_terminal(command, files):
    slow, expected, words = COMMANDS[command]
    left, _, screen = in_terminal(SLOW.format(slow=slow), *(word.format(files) for word in words))
    assert left == 0, screen
    assert re.search(expected, screen), screen


@pytest.mark.parametrize("command", ["retrieve", "recommend"])
def test_long_command_with_json_shows_nothing_but_json(command, files):
    slow, _, words = COMMANDS[command]
    words = [word.format(files) for word in words]
    left, out, screen = in_terminal(SLOW.format(slow=slow), *words, "--json")
    assert (left, screen) == (0, "")
    assert json.loads(out)


def test_long_command_in_a_pipe_says_nothing_but_its_result(files):
    slow, _, words = COMMANDS["retrieve"]
    code = [sys.executable, "-c", SLOW.format(slow=slow), *(word.format(files) for word in words)]
    done = subprocess.run(code, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rank1  rank5  rank10")


def test_interrupted_command_leaves_with_its_code_and_a_clean_screen(files):
    slow = "slowed('xferpipe.ops.rank_metrics', 'call', 3)"
    words = [word.format(files) for word in COMMANDS["retrieve"][2]]
    left, out, screen = in_terminal(SLOW.format(slow=slow), *words, interrupt_at="ranking")
    assert (left, out) == (INTERRUPTED, "")
    assert "Traceback" not in screen
