"""Code hashes: what computes counts, words do not, and siblings never."""

import textwrap

import pytest

from xferpipe.rebuild import code


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in the place of xferpipe; returns a function that writes one module."""
    root = tmp_path / "src" / "xferpipe"

    def write(module, text):
        path = root.joinpath(*module.split("."))
        path = path / "__init__.py" if (path.is_dir()) else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        for cached in (code._module, code.modules_of, code.code_of, code.kernels):
            cached.cache_clear()

    root.mkdir(parents=True)
    (root / "ops").mkdir()
    monkeypatch.setattr(code, "PACKAGE", root)
    monkeypatch.setattr(code, "STAGE_MODULES", {"stage": "xferpipe.stage"})
    write("stage", "from xferpipe.helper import add\ndef run(a):\n    return add(a, 1)\n")
    write("helper", "def add(a, b):\n    return a + b\n")
    write("other", "VALUE = 1\n")
    yield write
    for cached in (code._module, code.modules_of, code.code_of, code.kernels):
        cached.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b):\n    # why\n    return a + b\n",
        "def add(a, b):\n    '''Words.'''\n    return a + b\n",
        "'''Words.'''\ndef add(a, b):\n    return (a +\n            b)\n",
        "def add(a, b):\n    print('adding', a)\n    return a + b\n",
        "def add(a, b):\n    logger.info('adding %s', a)\n    return a + b\n",
        "def add(a, b):\n    logging.getLogger('x').info('adding')\n    return a + b\n",
    ],
    ids=["comment", "docstring", "layout", "print", "log", "log of a name"],
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
    package("stage", "def run(a):\n    from xferpipe import other\n    return other.VALUE\n")
    before = code.code_of("stage")
    package("other", "VALUE = 2\n")
    assert code.code_of("stage") != before


def test_relative_import_counts(package):
    package("stage", "from . import other\n")
    assert "xferpipe.other" in code.modules_of("stage")


def test_registered_entry_counts_and_its_sibling_does_not(package):
    package("scores/lfc", "A = 1\n")
    package("scores/leep", "A = 1\n")
    before = code.code_of("stage", ("xferpipe.scores.lfc",))
    package("scores/leep", "A = 2\n")
    assert code.code_of("stage", ("xferpipe.scores.lfc",)) == before
    package("scores/lfc", "A = 2\n")
    assert code.code_of("stage", ("xferpipe.scores.lfc",)) != before


def test_configuration_and_tables_are_left_out(package):
    package("config/study", "A = 1\n")
    package("stage", "from xferpipe.config.study import A\n")
    assert code.modules_of("stage") == ("xferpipe.stage",)


def test_kernels_count_for_stages_that_call_them_only(package, tmp_path):
    package("ops/__init__", "A = 1\n")
    package("caller", "from xferpipe import ops\n")
    code.STAGE_MODULES["caller"] = "xferpipe.caller"
    kernel = tmp_path / "csrc" / "op.cpp"
    kernel.parent.mkdir()
    kernel.write_text("int a;")
    before = {stage: code.code_of(stage) for stage in ("stage", "caller")}
    kernel.write_text("int b;")
    code.kernels.cache_clear()
    code.code_of.cache_clear()
    assert code.code_of("stage") == before["stage"]
    assert code.code_of("caller") != before["caller"]


def test_unknown_entry_is_an_error_that_names_it(package):
    with pytest.raises(code.CodeError, match=r"scores\.nothing"):
        code.code_of("stage", ("xferpipe.scores.nothing",))


@pytest.mark.parametrize("stage", sorted(code.STAGE_MODULES))
def test_every_stage_of_the_package_can_be_keyed(stage):
    assert code.STAGE_MODULES[stage] in code.modules_of(stage)
