"""One set of versions: pyproject.toml, the lock file, and what conda and its post-deploy build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import venv
from pathlib import Path

import pytest
import yaml
from conda_channel import local_channel
from packaging.markers import default_environment
from packaging.requirements import Requirement
from repository import borrowed_prefix, repository_copy

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / "workflow" / "envs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked():
    """Return the versions that apply to this interpreter, by normalised name."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if re.match(r"[A-Za-z0-9]", line)]
    here = default_environment()
    return {
        re.sub(r"[-_.]+", "-", pin.name).lower(): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate({**here, "extra": ""})
    }


def conda_dependencies(name):
    content = yaml.safe_load((ENVIRONMENTS / name).read_text())
    return {
        name: version for name, _, version in (d.partition("=") for d in content["dependencies"])
    }


@pytest.mark.parametrize(
    "requirement",
    [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["cluster"],
        *PROJECT["optional-dependencies"]["demo"],
        *PROJECT["optional-dependencies"]["dev"],
    ],
)
def test_lock_file_pins_every_requirement_within_its_range(requirement):
    wanted = Requirement(requirement)
    version = locked()[re.sub(r"[-_.]+", "-", wanted.name).lower()]
    assert wanted.specifier.contains(version, prereleases=True), f"{requirement}: {version}"


@pytest.mark.parametrize("name", ["xferpipe.yaml", "xferpipe-gpu.yaml"])
def test_environment_file_agrees_with_the_project(name):
    found = conda_dependencies(name)
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(found["python"])
    packages = {re.sub(r"[-_.]+", "-", Requirement(r).name) for r in PROJECT["dependencies"]}
    assert not packages & set(found), "a Python package has two sources of its version"


def test_environment_file_has_the_python_that_the_lock_file_is_made_for():
    lock = re.search(r"--python-version (\S+)", (ROOT / "Makefile").read_text())
    assert conda_dependencies("xferpipe.yaml")["python"] == lock[1]


def test_gpu_environment_adds_the_toolkit_of_the_locked_torch():
    plain, gpu = conda_dependencies("xferpipe.yaml"), conda_dependencies("xferpipe-gpu.yaml")
    assert plain.items() <= gpu.items()
    assert "cuda-nvcc" in gpu
    runtime = locked().get("nvidia-cuda-runtime")
    if runtime is None:
        pytest.skip("the locked torch brings no CUDA on this platform")
    assert gpu["cuda-version"] == runtime.split(".")[0]


def deploy(prefix, where, **variables):
    """Run the script as Snakemake does: a copy beside the prefix, the prefix first on PATH."""
    script = Path(f"{prefix}.post-deploy.sh")
    shutil.copy(ENVIRONMENTS / "xferpipe.post-deploy.sh", script)
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XFERPIPE_ROOT")}
    path = f"{prefix}/bin{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(script)],
        cwd=where,
        env={**kept, "PATH": path, **variables},
        text=True,
        capture_output=True,
        timeout=1500,
        check=False,
    )


def import_in(prefix, where):
    code = "import xferpipe, torch; print(xferpipe.__path__[0]); print(torch.__version__)"
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [f"{prefix}/bin/python", "-c", code],
        cwd=where,
        env=variables,
        text=True,
        capture_output=True,
        check=True,
    ).stdout.splitlines()


def test_post_deploy_in_its_own_prefix_installs_the_lock_and_the_package(tmp_path):
    """The prefix borrows the installed packages, pip included: pip has to find every pin met."""
    root = repository_copy(tmp_path / "repository with space", native=False)
    prefix = borrowed_prefix(tmp_path / "prefix")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = deploy(prefix, elsewhere, XFERPIPE_ROOT=str(root), PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stdout + done.stderr
    package, torch_version = import_in(prefix, elsewhere)
    assert package == str(root / "src" / "xferpipe")
    assert torch_version.split("+")[0] == locked()["torch"]


def test_post_deploy_by_hand_finds_the_repository_above(tmp_path):
    prefix = tmp_path / "prefix"
    (prefix / "bin").mkdir(parents=True)
    python = prefix / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    done = deploy(prefix, ROOT / "src" / "xferpipe")
    assert done.returncode == 0, done.stderr
    install_lock, install_package, _ = done.stdout.splitlines()
    assert install_lock.endswith(f"--requirement {ROOT}/requirements.lock")
    assert install_package.endswith(f"--no-deps --editable {ROOT}")


def test_post_deploy_outside_a_repository_says_what_to_set(tmp_path):
    done = deploy(tmp_path / "prefix", tmp_path)
    assert done.returncode == 1
    assert "set XFERPIPE_ROOT" in done.stderr


@pytest.mark.slow
def test_post_deploy_in_an_empty_prefix_installs_and_compiles_everything(tmp_path):
    root = repository_copy(tmp_path / "repository", native=True)
    prefix = tmp_path / "prefix"
    venv.create(prefix, with_pip=True, symlinks=True)
    try:
        done = deploy(prefix, tmp_path, XFERPIPE_ROOT=str(root))
        assert done.returncode == 0, done.stdout + done.stderr
        package, torch_version = import_in(prefix, tmp_path)
        assert package == str(root / "src" / "xferpipe")
        assert torch_version.split("+")[0] == locked()["torch"]
    finally:
        shutil.rmtree(prefix)  # Five gigabytes.


def conda_forge_answers():
    """Tell whether the channel of the environment file can be reached from here."""
    url = "https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10):
            return True
    except OSError:
        return False


#: Starts Snakemake with the package on its own path only: jobs have to find it in the environment.
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from snakemake.cli import main; main()"


@pytest.mark.slow
@pytest.mark.workflow
def test_use_conda_builds_the_environment_and_runs_a_study_in_it(tmp_path):
    """From conda-forge where it answers; else from a channel that is made here."""
    if shutil.which("conda") is None:
        pytest.skip("no conda on PATH: install Miniforge to run this test")
    reached = conda_forge_answers()
    root = repository_copy(tmp_path / "repository", native=reached)
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    if not reached:
        settings = tmp_path / "condarc"
        settings.write_text(local_channel(tmp_path / "channel"))
        variables |= {"CONDARC": str(settings), "PIP_NO_INDEX": "1"}
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(ROOT / "tests" / "faults" / "study.yaml", run / "study.yaml")
    done = subprocess.run(
        [
            *(sys.executable, "-c", START, str(root / "src")),
            *("--snakefile", str(root / "Snakefile")),
            *("--workflow-profile", str(root / "profiles" / "default")),
            *("--directory", str(run), "--cores", "all", "--use-conda"),
            *("--configfile", str(run / "study.yaml")),
        ],
        env=variables,
        text=True,
        capture_output=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run / "results" / "faults" / "report.html").exists()
    (environment,) = (path.parent for path in (run / ".snakemake" / "conda").glob("*/conda-meta"))
    linked = {path.name.rsplit("-", 2)[0] for path in (environment / "conda-meta").glob("*.json")}
    assert linked >= {"python", "pip", "cxx-compiler", "make"}
    package, torch_version = import_in(environment, tmp_path)
    assert package == str(root / "src" / "xferpipe")
    assert torch_version.split("+")[0] == locked()["torch"]
