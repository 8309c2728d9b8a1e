"""Help of every command: whole at any width, with an example, and fast."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from xferpipe.cli import DONE, application, main


def every_command():
    """Yield the words and the click command of the program, its groups and its commands."""

    def walk(words, command):
        yield words, command
        for name, below in getattr(command, "commands", {}).items():
            yield from walk((*words, name), below)

    return list(walk((), get_command(application())))


EVERY = every_command()


@pytest.fixture
def shown(capsys, monkeypatch):
    """Show the help of a command in a terminal of some width; `CliRunner` knows 80 alone."""

    def call(words, width=80):
        monkeypatch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit) as left:
            main([*words, "--help"])
        assert left.value.code == DONE
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(("words", "command"), EVERY, ids=[" ".join(w) for w, _ in EVERY])
def test_help_is_whole_and_within_the_width(shown, words, command, width):
    out = shown(words, width)
    assert "…" not in out
    # Three dots stand behind what may be given several times, and nowhere else.
    assert not re.search(r"\.\.\.", re.sub(r"[]}]\.\.\.", "", out))
    assert max(map(len, out.splitlines())) <= width
    told = out.split()
    for option in command.params:
        for name in (*option.opts, *option.secondary_opts):
            if name.startswith("--"):
                assert name in [word.rstrip(",") for word in told], name
        # Wrapping breaks lines after hyphens too.
        assert "".join((option.help or "").split()) in "".join(told), option.name
    text = inspect.cleandoc(command.help or "")
    assert "".join(text.split()) in "".join(told)


def test_list_of_commands_has_whole_sentences(shown):
    told = "".join(shown(()).split())
    for words, command in EVERY:
        if len(words) == 1 and command.callback is not None and not hasattr(command, "commands"):
            sentence = inspect.cleandoc(command.help).split("\n\n")[0]
            assert words[0] + "".join(sentence.split()) in told


def test_help_names_the_exit_codes(shown):
    told = " ".join(shown(()).split())
    assert "Exit codes: 0 done, 1 something is not in order, 2 wrong input" in told


COMMANDS = [(words, c) for words, c in EVERY if words and not hasattr(c, "commands")]


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=[" ".join(w) for w, _ in COMMANDS])
def test_help_of_every_command_gives_an_example(shown, words, command):
    assert f"Example: xferpipe {' '.join(words)}" in " ".join(shown(words).split())


def test_commands_that_read_results_call_them_by_one_name():
    """Results of a study are `--results` wherever a command reads them."""
    asked = {
        words for words, c in COMMANDS if any("--results" in option.opts for option in c.params)
    }
    assert asked == {
        ("recommend",), ("export",), ("history", "add"), ("tables", "list"), ("tables", "head"),
        ("tables", "export"),
    }  # fmt: skip
    gone = {"--tables", "--folder", "--input"}
    for words, command in COMMANDS:
        assert not gone & {name for option in command.params for name in option.opts}, words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("scroe",), "Did you mean 'score'?"),
        (("tables", "haed"), "Did you mean 'head'?"),
        (("recommend", "t", "--shot", "5"), "--shots"),
    ],
)
def test_word_that_is_unknown_gets_the_nearest(words, says):
    found = CliRunner().invoke(application(), list(words))
    assert found.exit_code == 2
    assert says in found.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from xferpipe.cli import application\n"
        "application()\n"
        "print([name for name in ('torch', 'torchvision', 'timm', 'sklearn', 'altair', 'snakemake')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
