"""Code blocks of the documentation, as things to run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class CodeBlock:
    """One fenced block: its language, the file it belongs to or none, and its text."""

    language: str
    path: str | None
    text: str


class Page:
    """A page of the documentation, and a folder of its own to do in what it says."""

    def __init__(self, path: str, folder: Path) -> None:
        self.text = (ROOT / path).read_text()
        self.folder = folder
        commands = folder / "bin"
        commands.mkdir()
        program = commands / "xferpipe"
        # Not `#!`: the path of Python may hold a space.
        code = "import sys; from xferpipe.cli import main; sys.argv[0] = 'xferpipe'; main()"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
        program.chmod(0o755)
        self.variables = {
            **os.environ,
            "PATH": os.pathsep.join([str(commands), str(Path(sys.executable).parent)])
            + os.pathsep
            + os.environ["PATH"],
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_TARGET": str(folder / "installed"),
            # The sources of this checkout last: what is installed may be another one's.
            "PYTHONPATH": os.pathsep.join(
                map(str, (folder / "src", folder / "installed", ROOT / "src"))
            ),
        }

    def blocks(self, section: str | None = None) -> list[CodeBlock]:
        """Return the blocks of the page, or of the section under one `##` heading."""
        text = self.text
        if section is not None:
            (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        return [CodeBlock(*found) for found in _BLOCK.findall(text)]

    def copy_sources(self) -> None:
        """Work on a copy of the package from now on."""
        shutil.copytree(
            ROOT / "src", self.folder / "src", ignore=shutil.ignore_patterns("__pycache__")
        )

    def do(self, block: CodeBlock) -> str:
        """Write a file, apply a change, or run a command; return what it printed."""
        if block.language == "diff":
            self._change(block)
        elif block.path:
            (self.folder / block.path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / block.path).write_text(block.text)
        elif block.language in ("sh", "python"):
            return self._run(block)
        return ""

    def shell(self, command: str) -> str:
        """Run a command in the page's folder; return what it printed."""
        return self._run(CodeBlock("sh", None, command))

    def _change(self, block: CodeBlock) -> None:
        file = self.folder / block.path
        for hunk in re.split(r"^@@\n", block.text, flags=re.M):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            text = file.read_text()
            assert text.count(before) == 1, f"{block.path} has changed; the page says:\n{before}"
            file.write_text(text.replace(before, after))

    def _run(self, block: CodeBlock) -> str:
        shell = ["bash", "-euo", "pipefail", "-c"]
        command = shell if block.language == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*command, block.text],
            cwd=self.folder,
            env=self.variables,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def page(tmp_path):
    """Open a page of the documentation."""
    return lambda path: Page(path, tmp_path)
