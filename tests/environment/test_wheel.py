"""A wheel made of a source distribution, installed where there is no checkout, runs a study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from repository import WORKFLOW, borrowed_prefix, repository_copy

VARIABLES = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}


def call(*command, cwd):
    """Run a command that has to succeed, and return what it printed."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=VARIABLES, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_below(folder, part):
    """Name the files of a file or folder, relative to `folder`."""
    paths = [folder / part, *(folder / part).rglob("*")]
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """An environment with the wheel, without kernels: nothing is compiled."""
    folder = tmp_path_factory.mktemp("wheel")
    root = repository_copy(folder / "repository", native=False)
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    call(sys.executable, "-c", build, cwd=root)
    (source,) = (root / "dist").glob("*.tar.gz")
    pip = ("-m", "pip", "--no-input", "--disable-pip-version-check")
    wheels = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder)
    call(sys.executable, *pip, *wheels, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    prefix = borrowed_prefix(folder / "prefix")
    install = ("install", "--no-deps", "--no-index", "--no-compile", "--ignore-installed")
    call(prefix / "bin" / "python", *pip, *install, wheel, cwd=folder)
    return prefix


def test_wheel_holds_the_workflow_as_it_is_in_the_repository(prefix, tmp_path):
    snakefile = Path(call(prefix / "bin" / "xferpipe", "snakefile", cwd=tmp_path).strip())
    assert snakefile.is_relative_to(prefix)
    there, here = snakefile.parent, prefix.parent / "repository"
    names = [name for part in WORKFLOW for name in files_below(here, part)]
    assert names == [name for part in WORKFLOW for name in files_below(there, part)]
    assert {path.name for path in there.iterdir()} == set(WORKFLOW)
    for name in names:
        assert (there / name).read_bytes() == (here / name).read_bytes(), name
        assert os.access(there / name, os.X_OK) == os.access(here / name, os.X_OK), name


def test_plan_and_adopt_of_a_wheel_need_no_checkout(prefix, tmp_path):
    xferpipe = prefix / "bin" / "xferpipe"
    planned = json.loads(call(xferpipe, "plan", "--smoke", "--json", cwd=tmp_path))
    assert {"manifest", "finetune", "report"} <= {rule["rule"] for rule in planned["rules"]}
    assert json.loads(call(xferpipe, "adopt", "--smoke", "--json", cwd=tmp_path)) == []


def test_run_of_a_wheel_plans_a_folder_of_images_without_a_checkout(prefix, tmp_path):
    for name in ("ash", "oak"):
        (tmp_path / "my photos" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (20, 20), (i, 20 * i, 200)).save(
                tmp_path / "my photos" / name / f"{name}{i}.png"
            )
    words = ("run", "my photos", "--models", "small", "--dry-run")
    told = call(prefix / "bin" / "xferpipe", *words, cwd=tmp_path)
    assert "race on my_photos: all images: round 0 is open" in told


@pytest.mark.slow
@pytest.mark.workflow
def test_study_runs_with_a_wheel_in_an_empty_folder(prefix, tiny_study, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tiny_study))
    snakefile = call(prefix / "bin" / "xferpipe", "snakefile", cwd=tmp_path).strip()
    command = ("-m", "snakemake", "--snakefile", snakefile, "--cores", "2")
    call(prefix / "bin" / "python", *command, "--configfile", "study.yaml", cwd=tmp_path)
    assert (tmp_path / "results" / "tiny" / "report.html").stat().st_size > 100_000
    again = call(prefix / "bin" / "xferpipe", "plan", "--configfile", "study.yaml", cwd=tmp_path)
    assert again == "Nothing to do: every result is up to date.\n"
