"""A plug-in counts with the version and all modules of its package, wherever it lies."""

import shutil
import sys

import pytest

from xferpipe.graph import code
from xferpipe.graph.code.plugins import plugin_code

METADATA = "Metadata-Version: 2.1\nName: own-scores\nVersion: {}\n"
GROUP = "xferpipe.scores"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a plug-in package into a folder and hashes it."""

    def install(version="1.0", inner="A = 1\n", folder="site", module="own_scores.near"):
        for name in [name for name in sys.modules if name.split(".")[0] == "own_scores"]:
            del sys.modules[name]
        shutil.rmtree(tmp_path, ignore_errors=True)
        package = tmp_path / folder / "own_scores"
        (package / "deep").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "near.py").write_text("from own_scores.deep.inner import A\n")
        (package / "deep" / "inner.py").write_text(inner)
        about = tmp_path / folder / "own_scores-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(METADATA.format(version))
        (about / "entry_points.txt").write_text(f"[{GROUP}]\nnear = {module}:near\n")
        code.clear()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / folder)
            return plugin_code(("lfc", "near"), GROUP)

    yield install
    code.clear()


def test_plugin_code_of_names_that_are_no_plug_ins_is_empty(installed):
    installed()
    assert plugin_code(("lfc",), GROUP) == ""


def test_plugin_code_counts_the_version(installed):
    assert installed() != installed(version="1.1")


def test_plugin_code_counts_modules_beside_the_entry_point(installed):
    assert installed() != installed(inner="A = 2\n")


def test_plugin_code_is_left_by_comments_docstrings_and_log_lines(installed):
    words = '"""Words."""\n# more\nA = 1\nprint(A)\n'
    assert installed() == installed(inner=words)


def test_plugin_code_is_left_by_the_place_of_the_package(installed):
    assert installed() == installed(folder="elsewhere")


def test_plugin_code_takes_a_file_that_is_no_python_as_it_is(installed):
    template = "{{ name }} = 1\n"
    assert installed(inner=template) == installed(inner=template)
    assert installed(inner=template) != installed(inner=template + "\n")


def test_plugin_code_of_a_single_module_counts_its_source(tmp_path, monkeypatch):
    about = tmp_path / "one_score-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA.format("1.0"))
    (about / "entry_points.txt").write_text(f"[{GROUP}]\nnear = one_score:near\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for text in ("A = 1\n", "A = 1  # why\n", "A = 2\n"):
        (tmp_path / "one_score.py").write_text(text)
        code.clear()
        found.append(plugin_code(("near",), GROUP))
    code.clear()
    assert found[0] == found[1] != found[2]
