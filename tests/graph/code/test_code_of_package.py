"""Which changes of this very package run which stages again."""

import ast
import re
import shutil
from pathlib import Path

import pytest

from xferpipe.graph import code
from xferpipe.graph.code.package import Package
from xferpipe.graph.code.table_columns import columns, tables_of
from xferpipe.graph.stages import STAGES
from xferpipe.records import RESULT_TABLES, TABLES
from xferpipe.stages.aggregate import MADE

HERE = code.PACKAGE
TRAININGS = {"pretrain", "expert", "finetune", "continual"}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the package and its kernels, and the hashes of all stages."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(HERE, folder / "src" / "xferpipe", ignore=ignored)
    shutil.copytree(HERE.parent.parent / "csrc", folder / "csrc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "PACKAGE", folder / "src" / "xferpipe")
        yield folder, hashes()
    code.clear()


def hashes():
    code.clear()
    return {stage: code.code_of(stage) for stage in STAGES}


@pytest.fixture
def changed(copied):
    """Return a function that edits a file of the copy and names the stages that run again."""
    folder, before = copied
    undo = []

    def change(file, old, new):
        path = folder / file
        text = path.read_text() if path.exists() else None
        undo.append((path, text))
        if old:
            assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new) if old else (text or "") + new)
        return {stage for stage, value in hashes().items() if value != before[stage]}

    yield change
    for path, text in reversed(undo):
        if text is None:
            path.unlink()
        else:
            path.write_text(text)


def test_code_of_the_copy_is_that_of_the_package(copied, monkeypatch):
    monkeypatch.setattr(code, "PACKAGE", HERE)
    assert hashes() == copied[1]


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        pytest.param(
            "src/xferpipe/config/scores.py",
            '"parameters", "random", *PROPERTIES',
            '"parameters", *PROPERTIES',
            {"aggregate"},
            id="WITHOUT_FEATURES",
        ),
        pytest.param(
            "src/xferpipe/config/study.py",
            '0.2,\n        ge=0,\n        lt=1,\n        description="Part of',
            '0.3,\n        ge=0,\n        lt=1,\n        description="Part of',
            {"pretrain", "expert", "probe", "path", "probe_finetuned"},
            id="default of Target.validation_fraction",
        ),
        pytest.param(
            "src/xferpipe/records/schemas.py",
            '("part_by", TEXT, "", "classes or images.")',
            '("part_by", INTEGER, "", "classes or images.")',
            {"continual", "aggregate", "report", "figures"},
            id="type of a column",
        ),
        pytest.param(
            "src/xferpipe/records/schemas.py",
            '        ("cosine", REAL, "", "Cosine of the angle between them."),\n',
            "",
            {"path", "aggregate", "report", "figures"},
            id="column",
        ),
        pytest.param(
            "src/xferpipe/report/page.css", "", "p {}\n", {"report", "figures"}, id="page.css"
        ),
        pytest.param(
            "src/xferpipe/report/page.html", "", "<p>\n", {"report", "figures"}, id="page.html"
        ),
        pytest.param(
            "src/xferpipe/config/report.py",
            "return [(name,) if isinstance(name, str) else name for name in self.models]",
            "return [(name,) for name in self.models]",
            {"report", "figures"},
            id="method of a block that a job holds",
        ),
    ],
)
def test_change_runs_these_stages_again_and_no_others(changed, file, old, new, again):
    assert changed(file, old, new) == again


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("src/xferpipe/config/study.py", "Part of the training split held", "Words"),
        (
            "src/xferpipe/config/recipes.py",
            '10,\n        ge=0,\n        description="Passes',
            '11,\n        ge=0,\n        description="Passes',
        ),
        ("src/xferpipe/config/presets.py", '"batch_size": 1024', '"batch_size": 512'),
        ("src/xferpipe/graph/stages/parts.py", "", "\nMORE = 1\n"),
        ("src/xferpipe/config/scores.py", '    "lgc": ', '    "more": "new",\n    "lgc": '),
        ("src/xferpipe/config/zoo.py", '"cifar_": ', '"plain_": "plain", "cifar_": '),
        ("src/xferpipe/config/datasets.py", "    Digits\n    |", "    Digits\n    | Block\n    |"),
        ("src/xferpipe/records/schemas.py", '"classes or images."', '"Words."'),
        ("src/xferpipe/records/schemas.py", '("images", INTEGER, "count", "Images of the ev', None),
        ("src/xferpipe/training/step.py", "channels_last is left aside", "Words"),
        ("src/xferpipe/training/checkpoint.py", "resuming from it", "going on"),
        ("src/xferpipe/report/.DS_Store", "", "left by a tool"),
        ("csrc/.DS_Store", "", "left by a tool"),
        ("csrc/cpu/nearest.cpp", "", "// why\n"),
    ],
)
def test_change_of_words_runs_nothing_again(changed, file, old, new):
    new = new if new is not None else old.replace('"count"', '"images"')
    assert changed(file, old, new) == set()


def test_change_of_what_names_a_checkpoint_runs_what_trains_again(changed):
    again = changed("src/xferpipe/config/base.py", "sort_keys=True", "sort_keys=False")
    assert again >= TRAININGS
    assert not again & {
        "generate",
        "manifest",
        "pack",
        "features",
        "aggregate",
        "report",
        "figures",
    }


def test_change_of_a_kernel_runs_what_calls_kernels_again(changed):
    again = changed("csrc/cpu/nearest.cpp", "", "int more;\n")
    assert {"retrieval", "gradients"} <= again
    assert not again & {"pretrain", "finetune", "aggregate", "report", "figures"}


def test_every_reader_imports_the_block_that_it_reads():
    """A union of blocks is not followed, so that a new reader leaves the others' jobs alone."""
    tree = ast.parse((HERE / "config" / "datasets.py").read_text())
    blocks = {
        node.name: re.search(r"reader: Literal\['(\w+)'\]", ast.unparse(node))
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    readers = {match.group(1): name for name, match in blocks.items() if match}
    assert len(readers) >= 8
    for reader, block in readers.items():
        source = (HERE / "datasets" / "readers" / f"{reader}.py").read_text()
        assert re.search(rf"import .*\b{block}\b", source), reader


def test_every_module_of_charts_counts_for_the_report():
    """One that nothing draws with is left over."""
    charts = {f"xferpipe.report.charts.{path.stem}" for path in HERE.glob("report/charts/[!_]*.py")}
    assert charts
    assert charts <= set(code.modules_of("report"))


TABLE_CALLS = {"write_table", "read_table", "frame", "empty", "gather", "table_of", "load_table"}


def _tables_named(path: Path) -> set[str]:
    """Name the tables that a module passes to a function of tables as a literal."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func).rpartition(".")[2]
            if function in TABLE_CALLS and node.args[0].value in TABLES:
                named.add(node.args[0].value)
    return named


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_tables_of_a_stage_are_those_that_its_modules_name(stage):
    code.clear()
    modules = code.modules_of(stage)
    named = set().union(*(_tables_named(Package(HERE).file(module)) for module in modules))
    assert named <= set(tables_of(stage))
    if stage not in ("aggregate", "report", "figures"):
        assert named == set(tables_of(stage))


def test_every_gathered_table_has_a_stage_that_writes_its_rows():
    written = {table for stage in STAGES.values() for table in stage.tables.values()}
    assert written == set(RESULT_TABLES) - set(MADE)


@pytest.mark.parametrize("table", TABLES)
def test_columns_read_from_the_source_are_those_of_the_schema(table):
    found = columns(Package(HERE), table)
    assert [name for name, _ in found] == [column.name for column in TABLES[table]]
    assert [kind.replace("polars.", "") for _, kind in found] == [
        str(column.type) for column in TABLES[table]
    ]
