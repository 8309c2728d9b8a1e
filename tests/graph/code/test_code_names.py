"""Of `config` and `records`, the names that a stage's code uses count, and no others."""

import textwrap

import pytest

from xferpipe.graph import code
from xferpipe.graph.stage import Stage
from xferpipe.graph.stages import STAGES

BASE = "from pydantic import BaseModel\nclass Block(BaseModel):\n    model_config = {}\n"
OPTIONS = '''
from pydantic import Field, field_validator
from typing import Annotated, ClassVar
from xferpipe.config.base import Block
from xferpipe.config.limits import LEAST, least
FACTOR = 2
UNUSED = 1
def double(a):
    return FACTOR * a
def unrelated(a):
    return a
class Recipe(Block):
    """Words."""
    kind: ClassVar[str] = "recipe"
    epochs: int = Field(10, description="Passes.")
    @field_validator("epochs")
    @classmethod
    def _checked(cls, value):
        return unrelated(value)
    def total(self):
        return double(self.epochs)
    def never_called(self):
        return 1
class Digits(Block):
    reader: str = "digits"
    def size(self):
        return 1
class Folder(Block):
    reader: str = "folder"
Dataset = Annotated[Digits | Folder, Field(discriminator="reader")]
class Job(Block):
    recipe: Recipe
    dataset: Dataset
'''


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A package with blocks; returns a function that writes a module and gives the hash."""
    root = tmp_path / "src" / "xferpipe"

    def written(module, text):
        path = root.joinpath(*module.split("."))
        path = path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        code.clear()
        return code.code_of("stage")

    monkeypatch.setattr(code, "PACKAGE", root)
    monkeypatch.setitem(STAGES, "stage", Stage())
    root.mkdir(parents=True)
    (root / "stages").mkdir()
    (root / "stages" / "stage.py").write_text("")
    written("config.base", BASE)
    written("config.limits", "LEAST = 1\ndef least(a):\n    return max(a, LEAST)\n")
    written("config.options", OPTIONS)
    written("config.__init__", "from xferpipe.config.options import Job, Recipe, double\n")
    yield written
    code.clear()


USES = {
    "from": "from xferpipe.config.options import double\ndouble(1)\n",
    "in a function": "def run(a):\n    from xferpipe.config.options import double\n    double(a)\n",
    "re-export": "from xferpipe.config import double\ndouble(1)\n",
    "as": "import xferpipe.config.options as options\noptions.double(1)\n",
    "dotted": "import xferpipe.config.options\nxferpipe.config.options.double(1)\n",
    "package": "from xferpipe import config\nconfig.options.double(1)\n",
    "passed on": "from xferpipe.config.options import double\n",
    "relative": "from ..config.options import double\ndouble(1)\n",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_function_counts_with_what_it_loads_however_it_is_imported(study, use):
    before = study("stages.stage", use)
    assert study("config.options", OPTIONS.replace("FACTOR = 2", "FACTOR = 3")) != before
    assert study("config.options", OPTIONS.replace("FACTOR * a", "a * FACTOR")) != before


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    ("old", "new"),
    [("UNUSED = 1", "UNUSED = 2"), ("    return a\n", "    return -a\n"), ("10, desc", "9, desc")],
)
def test_names_that_are_not_used_leave_the_hash(study, use, old, new):
    before = study("stages.stage", use)
    assert study("config.options", OPTIONS.replace(old, new)) == before


@pytest.mark.parametrize(
    "use",
    [
        "from xferpipe.config import options\nprint_all = vars(options)\n",
        "from xferpipe import config\nrun = vars(config)\n",
        "from xferpipe.config.options import *\n",
        "import xferpipe.config.options as o\no.made_elsewhere()\n",
    ],
    ids=["module", "package", "star", "unknown name"],
)
def test_use_that_names_nothing_counts_the_whole_module(study, use):
    before = study("stages.stage", use)
    assert study("config.options", OPTIONS.replace("UNUSED = 1", "UNUSED = 2")) != before


def test_name_of_another_module_counts_where_a_counted_function_loads_it(study):
    study("config.options", OPTIONS.replace("FACTOR * a", "least(a)"))
    before = study("stages.stage", USES["from"])
    changed = study("config.limits", "LEAST = 2\ndef least(a):\n    return max(a, LEAST)\n")
    assert changed != before


def test_other_module_counts_whole_where_a_counted_function_imports_it(study):
    study("seeding", "A = 1\n")
    body = "from xferpipe.seeding import A\n    return FACTOR * a"
    study("config.options", OPTIONS.replace("return FACTOR * a", body))
    before = study("stages.stage", USES["from"])
    assert code.modules_of("stage") == ("xferpipe.seeding", "xferpipe.stages.stage")
    assert study("seeding", "A = 1\nB = 2\n") != before


def test_library_that_a_counted_name_stands_for_counts(study):
    text = "from math import floor as cut\ndef double(a):\n    return cut(a)\n"
    study("config.options", text)
    before = study("stages.stage", USES["from"])
    assert study("config.options", text.replace("floor", "ceil")) != before


def test_statement_that_changes_a_constant_counts(study):
    study("config.options", "TABLE = {}\nTABLE['a'] = 1\nTABLE.update(b=1)\n")
    before = study("stages.stage", "from xferpipe.config.options import TABLE\n")
    assert study("config.options", "TABLE = {}\nTABLE['a'] = 2\nTABLE.update(b=1)\n") != before
    assert study("config.options", "TABLE = {}\nTABLE['a'] = 1\nTABLE.update(b=2)\n") != before


CALLER = "from xferpipe.config import Job\ndef run(job: Job):\n    return job.recipe.total()\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("double(self.epochs)", "double(self.epochs) + 1"),
        ("FACTOR = 2", "FACTOR = 3"),
        ('"recipe"', '"other"'),
    ],
    ids=["method", "what a method loads", "class constant"],
)
def test_block_of_a_field_counts_by_what_may_run(study, old, new):
    before = study("stages.stage", CALLER)
    assert study("config.options", OPTIONS.replace(old, new)) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Field(10", "Field(11"),
        ("Passes.", "Words."),
        ('"""Words."""', '"""Other."""'),
        ("return unrelated(value)", "return value"),
        ("epochs: int", "steps: int = 1\n    epochs: int"),
        ("        return 1\nclass Digits", "        return 2\nclass Digits"),
        ("Digits | Folder,", "Digits | Folder | Recipe,"),
    ],
    ids=["default", "help", "docstring", "validator", "field", "method not called", "union"],
)
def test_what_reaches_a_job_through_its_slice_leaves_the_hash(study, old, new):
    before = study("stages.stage", CALLER)
    assert OPTIONS.replace(old, new) != OPTIONS
    assert study("config.options", OPTIONS.replace(old, new)) == before


def test_method_of_a_base_block_counts(study):
    study("config.base", BASE + "    def total(self):\n        return 1\n")
    before = study("stages.stage", CALLER)
    assert study("config.base", BASE + "    def total(self):\n        return 2\n") != before


def test_method_of_a_registered_block_counts_where_its_module_imports_it(study):
    user = "from xferpipe.config.options import {}\ndef read(block):\n    return block.size()\n"
    other = OPTIONS.replace("        return 1\nclass Folder", "        return 2\nclass Folder")
    before = study("stages.stage", CALLER + user.format("Folder"))
    assert study("config.options", other) == before
    study("config.options", OPTIONS)
    before = study("stages.stage", CALLER + user.format("Digits"))
    assert study("config.options", other) != before


@pytest.mark.parametrize(
    "maker",
    [
        "from xferpipe.config.options import Recipe\nmade = Recipe()\n",
        "from xferpipe.config.options import Recipe\nmade = Recipe.model_construct()\n",
        "from xferpipe.config.options import Recipe\nmade = Recipe.model_validate({})\n",
        "from xferpipe.config import options\nmade = options.Recipe()\n",
    ],
)
def test_defaults_count_where_code_makes_the_block(study, maker):
    before = study("stages.stage", maker)
    assert study("config.options", OPTIONS.replace("Field(10", "Field(11")) != before
    assert study("config.options", OPTIONS.replace("unrelated(value)", "value")) != before
    assert study("config.options", OPTIONS.replace("Passes.", "Words.")) == before


def test_defaults_of_a_base_count_where_code_makes_the_block(study):
    study("config.base", BASE + "    seed: int = 0\n")
    before = study("stages.stage", "from xferpipe.config.options import Recipe\nmade = Recipe()\n")
    assert study("config.base", BASE + "    seed: int = 1\n") != before


def test_defaults_do_not_count_where_a_whole_block_is_read_again(study):
    maker = "from xferpipe.config.options import Recipe\n"
    maker += "def run(r):\n    return Recipe.model_validate(r.model_dump() | {'epochs': 1})\n"
    before = study("stages.stage", maker)
    assert study("config.options", OPTIONS.replace("Field(10", "Field(11")) == before


def test_configuration_is_never_among_the_modules_that_count_whole(study):
    study("stages.stage", CALLER)
    assert code.modules_of("stage") == ("xferpipe.stages.stage",)
