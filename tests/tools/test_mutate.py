"""Planted faults: what the tool says of a tree of one module, and whether our list still fits."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch):
    """Return `tools/mutate.py` as a module of its own, free to be patched."""
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "tools" / "mutate.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutate", module)
    spec.loader.exec_module(module)
    return module


LIST = """
[[file]]
path = "sums.py"
faults = [
  { name = "difference", old = "a + b", new = "a - b" },
  { name = "turned_round", old = "a + b", new = "b + a" },
  { name = "no_module", old = "return", new = "retrun" },
  { name = "gone", old = "a * b", new = "a / b" },
  { name = "fails_anyway", old = "a + b", new = "a - b", tests = ["test_broken.py"] },
]
"""


@pytest.fixture
def tree(tmp_path):
    """A tree of one module, whose test sees a wrong sum, and one test that always fails."""
    files = {
        "src/xferpipe/__init__.py": "",
        "src/xferpipe/sums.py": "def plus(a, b):\n    return a + b\n",
        "tests/test_sums.py": "from xferpipe.sums import plus\n\n"
        "def test_plus():\n    assert plus(2, 3) == 5\n",
        "tests/test_broken.py": "def test_broken():\n    assert False\n",
        "tools/mutants.toml": LIST,
        "tools/mutate.py": (ROOT / "tools" / "mutate.py").read_text(),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def planted(tree, *words) -> list[str]:
    """Run the tool and return its lines."""
    command = [sys.executable, tree / "tools/mutate.py", "--result", tree / "result.md", *words]
    done = subprocess.run([*command, "--load", "pytest"], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return done.stdout.splitlines()


def test_faults_are_caught_survive_or_cannot_be_planted(tree):
    result = tree / "result.md"
    lines = planted(tree)
    assert lines[-1] == "2 of 3 faults caught (66.7%); not applicable: 2"
    # The reasons why a fault cannot be planted come first.
    assert [" ".join(line.split()[:3]) for line in lines[:-1]] == [
        *("not applicable gone", "not applicable fails_anyway"),
        *("caught difference FAILED", "survived turned_round", "caught no_module ERROR"),
    ]
    written = result.read_text().splitlines()
    assert written[0] == lines[-1]
    names = ["difference", "turned_round", "no_module", "gone", "fails_anyway"]
    assert [line.split(" | ")[0].strip("| ") for line in written[4:]] == names
    # A later run of one fault keeps what is known of the others.
    (tree / "tests/test_sums.py").write_text("def test_nothing():\n    pass\n")
    assert planted(tree, "difference", "--sound")[0].split() == ["survived", "difference"]
    assert result.read_text().startswith("1 of 3 faults caught (33.3%); not applicable: 2")
    # The tree itself is never touched.
    assert (tree / "src/xferpipe/sums.py").read_text().endswith("return a + b\n")


def test_faults_are_chosen_by_name_and_by_file(tool):
    faults = tool.read_faults(ROOT / "tools" / "mutants.toml")
    (one,) = tool.chosen(faults, ["zero_head_ignored"])
    assert one.file == Path("src/xferpipe/zoo/surgery.py")
    assert one.tests == ("tests/zoo/test_surgery.py",)
    assert {fault.file.parent.name for fault in tool.chosen(faults, ["evidence/"])} == {"evidence"}
    with pytest.raises(ValueError, match="nowhere is neither the name of a fault"):
        tool.chosen(faults, ["nowhere"])


def test_every_fault_of_the_list_can_be_planted(tool):
    """A fault whose old text is gone is told here, and not an hour into the run."""
    faults = tool.read_faults(ROOT / "tools" / "mutants.toml")
    reasons = {fault.name: tool.reason_against(fault) for fault in faults}
    assert {name: reason for name, reason in reasons.items() if reason} == {}
    packages = {fault.file.parts[2] for fault in faults if fault.file.parts[0] == "src"}
    assert {"training", "scores", "retrieval", "ops", "datasets", "aggregate"} <= packages
    assert {"evidence", "graph", "config", "cli", "report", "zoo", "stages"} <= packages
    assert {"handover", "minimisers", "records"} <= packages
