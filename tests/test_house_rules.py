"""Rules of the house that a tool can check."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["lint-imports", "--no-cache"],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["snakemake", "--lint"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_linter_has_nothing_to_say(command):
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_says_what_it_needs():
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ResourceSettings

    with SnakemakeApi() as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1), snakefile=ROOT / "Snakefile"
        )
        rules = list(workflow._workflow.rules)
    for rule in rules:
        if rule.name == "all":
            continue
        assert rule.log, rule.name
        assert rule.benchmark, rule.name
        assert rule.conda_env, rule.name
        assert {"gpu", "mem_mb", "runtime"} <= set(rule.resources), rule.name
        assert "key" in {name for name, _ in rule.params._allitems()}, rule.name
        for asked in ("mem_mb", "runtime"):
            first, second = (
                rule.resources[asked].evaluate(None, attempt=attempt).value for attempt in (1, 2)
            )
            assert second == 2 * first > 0, (rule.name, asked)


def benchmarks(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_benchmark_can_be_named_and_takes_no_required_option():
    """`make bench` runs each as it stands; a program's own options follow two dashes."""
    listed = benchmarks("--help")
    assert listed.returncode == 0, listed.stderr
    words = listed.stdout.replace(",", " ").replace(";", " ").split()
    for path in (ROOT / "benchmarks").glob("*.py"):
        if path.stem not in ("__init__", "__main__", "common"):
            assert path.stem in words
            assert "required=True" not in path.read_text()
    assert "is no benchmark: choose from" in benchmarks("ranks").stderr
    own = benchmarks("minimisers", "--", "--help")
    assert own.returncode == 0
    assert "--rounds" in own.stdout
    assert "for one program" in benchmarks("nearest", "--", "--help").stderr


@pytest.mark.xdist_group("group")
def test_tests_of_a_group_share_a_worker(request):
    """Their workers would wait for each other's runs; an xdist that loses groups says nothing."""
    if "PYTEST_XDIST_WORKER" in os.environ and request.config.getvalue("loadgroup"):
        assert request.node.nodeid.endswith("@group")


def test_ops_import_torch_alone():
    script = (
        "import sys\n"
        "import xferpipe.ops\n"
        "heavy = {'torchvision', 'timm', 'polars', 'pyarrow', 'sklearn', 'pydantic', 'snakemake'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_parsing_the_workflow_imports_no_torch():
    script = (
        "import sys\n"
        "from xferpipe.config import load_study\n"
        "from xferpipe.graph.environment import environment_of\n"
        "from xferpipe.graph.rules import Keys\n"
        "from pathlib import Path\n"
        f"root = Path({str(ROOT)!r})\n"
        "study = load_study(root / 'config.yaml')\n"
        "Keys(study, environment_of(root, conda=False))('report')\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_preflight_names_what_is_missing_in_one_line(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "mktemp", "rm", "df", "awk", "cat"):
        (tools / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [ROOT / "tools" / "preflight.sh"],
        env={"PATH": str(tools), "CXX": "no-such-compiler", "PYTHON": "no-such-python"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    line = next(line for line in done.stderr.splitlines() if "apt-get install" in line)
    assert {"g++", "python3", "git"} <= set(line.split())
