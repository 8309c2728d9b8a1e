"""Code hashes: what computes counts, words do not, and siblings never."""

import os
import py_compile
import textwrap
import time
from pathlib import Path

import pytest

from xferpipe.graph import code
from xferpipe.graph.sources import drop_stale_bytecode
from xferpipe.graph.stage import Stage
from xferpipe.graph.stages import STAGES


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in the place of xferpipe; returns a function that writes one module."""
    root = tmp_path / "src" / "xferpipe"

    def write(module, text):
        path = root.joinpath(*module.split("."))
        path = path / "__init__.py" if (path.is_dir()) else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        code.clear()

    root.mkdir(parents=True)
    (root / "ops").mkdir()
    monkeypatch.setattr(code, "PACKAGE", root)
    monkeypatch.setitem(STAGES, "stage", Stage())
    write("stages.stage", "from xferpipe.helper import add\ndef run(a):\n    return add(a, 1)\n")
    write("helper", "def add(a, b):\n    return a + b\n")
    write("other", "VALUE = 1\n")
    yield write
    code.clear()


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b):\n    # why\n    return a + b\n",
        "def add(a, b):\n    '''Words.'''\n    return a + b\n",
        "'''Words.'''\ndef add(a, b):\n    return (a +\n            b)\n",
        "def add(a, b):\n    print('adding', a)\n    return a + b\n",
        "def add(a, b):\n    logger.info('adding %s', a)\n    return a + b\n",
        "def add(a, b):\n    logging.getLogger('x').info('adding')\n    return a + b\n",
        "import logging\nlog = logging.getLogger(__name__)\n"
        "def add(a, b):\n    log.info('adding')\n    return a + b\n",
        "from logging import getLogger\nspoken: object = getLogger('x')\n"
        "def add(a, b):\n    spoken.info('adding')\n    return a + b\n",
        "def add(a, b):\n    pass\n    return a + b\n",
    ],
    ids=[
        *("comment", "docstring", "layout", "print", "log", "log of a name"),
        *("log of any name", "imported getLogger", "pass"),
    ],
)
def test_words_and_layout_leave_the_hash(package, text):
    before = code.code_of("stage")
    package("helper", text)
    assert code.code_of("stage") == before


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b):\n    return a - b\n",
        "def add(a, b=2):\n    return a + b\n",
        "def add(a, b):\n    check(a)\n    return a + b\n",
        "MORE = 1\ndef add(a, b):\n    return a + b\n",
    ],
)
def test_what_computes_changes_the_hash(package, text):
    before = code.code_of("stage")
    package("helper", text)
    assert code.code_of("stage") != before


def test_module_that_is_not_imported_is_not_in_the_hash(package):
    before = code.code_of("stage")
    package("other", "VALUE = 2\n")
    assert code.code_of("stage") == before


def test_import_inside_a_function_counts(package):
    package("stages.stage", "def run(a):\n    from xferpipe import other\n    return other.VALUE\n")
    before = code.code_of("stage")
    package("other", "VALUE = 2\n")
    assert code.code_of("stage") != before


def test_relative_import_counts(package):
    package("stages.stage", "from .. import other\n")
    assert "xferpipe.other" in code.modules_of("stage")


def test_registered_entry_counts_and_its_sibling_does_not(package):
    package("scores/lfc", "A = 1\n")
    package("scores/leep", "A = 1\n")
    before = code.code_of("stage", ("xferpipe.scores.lfc",))
    package("scores/leep", "A = 2\n")
    assert code.code_of("stage", ("xferpipe.scores.lfc",)) == before
    package("scores/lfc", "A = 2\n")
    assert code.code_of("stage", ("xferpipe.scores.lfc",)) != before


@pytest.mark.parametrize(
    "helper",
    [
        "from math import log\ndef add(a, b):\n    log.update({value})\n    return a + b\n",
        "import logging\nlog = logging.getLogger('x')\n"
        "def add(a, b, log):\n    log.append({value})\n    return a + b\n",
        "def add(a, b):\n    log = []\n    log.append({value})\n    return a + b\n",
        "def add(a, b):\n    print(c := {value})\n    return a + b + c\n",
    ],
    ids=["imported", "also a parameter", "a list", "binds a name"],
)
def test_statement_that_does_more_than_log_counts(package, helper):
    package("helper", helper.format(value=1))
    before = code.code_of("stage")
    package("helper", helper.format(value=2))
    assert code.code_of("stage") != before


def test_branch_that_only_logs_leaves_the_hash(package):
    text = "def add(a, b):\n    if a:\n        b += 1\n{more}    return a + b\n"
    package("helper", text.format(more=""))
    before = code.code_of("stage")
    package("helper", text.format(more="    else:\n        print(a)\n"))
    assert code.code_of("stage") == before


def test_kernels_count_for_stages_that_call_them_only(package, tmp_path, monkeypatch):
    package("ops/__init__", "A = 1\n")
    package("stages.caller", "from xferpipe import ops\n")
    monkeypatch.setitem(STAGES, "caller", Stage())
    kernel = tmp_path / "csrc" / "op.cpp"
    kernel.parent.mkdir()
    kernel.write_text("int a;")
    before = {stage: code.code_of(stage) for stage in ("stage", "caller")}
    kernel.write_text("int b;")
    code.clear()
    assert code.code_of("stage") == before["stage"]
    assert code.code_of("caller") != before["caller"]


def test_file_beside_a_counted_package_counts(package, tmp_path):
    package("page/__init__", "A = 1\n")
    package("stages.stage", "from xferpipe import page\n")
    style = tmp_path / "src" / "xferpipe" / "page" / "page.css"
    style.write_text("a {}")
    code.clear()
    before = code.code_of("stage")
    style.write_text("b {}")
    code.clear()
    changed = code.code_of("stage")
    assert changed != before
    for name in (".DS_Store", "page.css~", "page.css.orig", "#page.css#"):
        style.with_name(name).write_text("left by a tool")
    code.clear()
    assert code.code_of("stage") == changed


def test_clear_makes_the_next_hash_read_the_files_again(package, tmp_path):
    before = code.code_of("stage")
    (tmp_path / "src" / "xferpipe" / "helper.py").write_text("def add(a, b):\n    return a * b\n")
    assert code.code_of("stage") == before
    code.clear()
    assert code.code_of("stage") != before


def test_entry_of_another_distribution_brings_the_modules_it_imports(
    package, tmp_path, monkeypatch
):
    (tmp_path / "own_scores").mkdir()
    (tmp_path / "own_scores" / "near.py").write_text("from xferpipe.other import VALUE\n")
    (tmp_path / "own_scores" / "template.py").write_text("{{ name }} = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    entries = ("own_scores.near",)
    assert "xferpipe.other" in code.modules_of("stage", entries)
    assert code.code_of("stage", entries) != code.code_of("stage")


def test_unknown_entry_is_an_error_that_names_it(package):
    with pytest.raises(code.CodeError, match=r"scores\.nothing"):
        code.code_of("stage", ("xferpipe.scores.nothing",))


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_stage_of_the_package_can_be_keyed(stage):
    assert f"xferpipe.stages.{stage}" in code.modules_of(stage)


def test_bytecode_older_than_the_last_change_of_its_source_is_dropped(package, tmp_path):
    """Python itself is deceived where an archive sets the date of a source back."""
    source = tmp_path / "src" / "xferpipe" / "helper.py"
    compiled = Path(py_compile.compile(str(source)))
    drop_stale_bytecode(source.parent)
    assert compiled.exists()
    state = source.stat()
    time.sleep(0.02)
    source.write_text(source.read_text().replace("+", "-"))
    os.utime(source, ns=(state.st_atime_ns, state.st_mtime_ns))
    drop_stale_bytecode(source.parent)
    assert not compiled.exists()
