"""An interpreter whose path has a space, and the workflow as a module of another one."""

import subprocess
import sys
import sysconfig

import pytest
import yaml

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

CARD = "results/tiny/zoo/drawn/card.parquet"


def test_python_in_a_folder_with_a_space_runs_jobs(new_workflow, tiny_study, tmp_path):
    """As `make demo` does in a checkout of such a path: Snakemake quotes no interpreter."""
    folder = tmp_path / "my checkout" / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    workflow = new_workflow(tmp_path / "my checkout" / "run", tiny_study)
    workflow.environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    done = subprocess.run(
        [str(folder / "bin" / "python"), *workflow.command(CARD)[1:]],
        env=workflow.variables(),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (workflow.directory / CARD).exists()


OTHER = """\
configfile: "study.yaml"


module xferpipe:
    snakefile:
        "{root}/Snakefile"
    config:
        config


use rule * from xferpipe as xferpipe_*


rule card:
    input:
        "results/tiny/zoo/drawn/card.parquet",
"""


def test_workflow_is_used_as_a_module_of_another_one(new_workflow, tiny_study, tmp_path):
    workflow = new_workflow(tmp_path, tiny_study)
    root = workflow.root
    workflow.directory.mkdir(exist_ok=True)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tiny_study, sort_keys=False))
    (tmp_path / "Snakefile").write_text(OTHER.format(root=root))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(tmp_path)]
    command += ["--snakefile", str(tmp_path / "Snakefile")]
    done = subprocess.run([*command, "card"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / CARD).exists()
