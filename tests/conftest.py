"""What all tests share: the tiny study, a runner of the real workflow, and one finished run.

Hypothesis draws the same examples in every run, so that the suite does not depend on luck;
`--hypothesis-profile fresh` draws others each time: pytest --hypothesis-profile fresh tests/fuzz
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is loaded: two workers with two threads each on two cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

with contextlib.suppress(ModuleNotFoundError):  # tests/cuda runs without it too
    from hypothesis import settings

    settings.register_profile("fixed", derandomize=True, deadline=None)
    settings.register_profile("fresh", deadline=None, print_blob=True)
    settings.load_profile("fixed")

_FEED = {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}

#: Two targets, two zoo entries, four fine-tunes, in seconds: every rule but those of experts,
#: gradients, the reference network and minimisers.
TINY: dict[str, Any] = {
    "name": "tiny",
    "device": "cpu",
    "datasets": {
        "source": {"reader": "digits", "classes": [0, 1, 2], "maximum_images_per_class": 40},
        "digits": {"reader": "digits", "classes": [5, 6, 7], "maximum_images_per_class": 40},
        "vehicles": {
            "reader": "veri776",
            "image_px": 16,
            "generate": {
                "train_identities": 4,
                "test_identities": 3,
                "cameras": 2,
                "images_per_camera": 2,
                "image_px": 16,
            },
        },
    },
    "targets": {
        "digits": {"dataset": "digits"},
        "vehicles": {"dataset": "vehicles", "task": "retrieval", "validation_fraction": 0.25},
    },
    "pretraining_recipes": {"upstream": {"epochs": 2, "batch_size": 16, "lr": 0.05}},
    "finetuning_recipes": {
        "sgd": {"epochs": 2, "batch_size": 16, "lr": 0.02},
        "head": {"epochs": 2, "batch_size": 16, "lr": 0.05, "train_layers": "head"},
    },
    "zoo": {
        "trained": {
            "architecture": "cifar_resnet8",
            "width": 4,
            "weights": "pretrain",
            "source": "source",
            "recipe": "upstream",
            **_FEED,
        },
        "drawn": {"architecture": "cifar_resnet8", "width": 4, "weights": "random", **_FEED},
    },
    "finetunes": [
        {"targets": ["digits"], "recipes": ["sgd"]},
        {"targets": ["digits"], "models": ["trained"], "recipes": ["head"]},
        {"targets": ["vehicles"], "models": ["drawn"], "recipes": ["sgd"]},
    ],
    "probe": {"images_per_class": 5},
    "scores": {"methods": ["lfc", "leep", "knn", "parameters"], "bootstrap_samples": 20},
    "retrieval": {"distance": "euclidean"},
    "selection": {"confidence": 0.95},
}


#: Prints the jobs that would run.
PLAN = """
import sys
from xferpipe.graph.plan import planned_jobs
for job in planned_jobs(sys.argv[1:])[0]:
    print("JOB", job.rule, "/".join(job.wildcards.values()))
"""


@dataclass
class Workflow:
    """Runs the real workflow on one study in one folder.

    Attributes:
        directory: Folder that holds `results`.
        study: The study; change it between runs.
        source: Folder that holds `xferpipe`, to run changed code; None runs the installed package.
        root: Folder of the Snakefile.
    """

    directory: Path
    study: dict[str, Any]
    source: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    root: Path = ROOT

    @property
    def results(self) -> Path:
        """Folder of the study's results."""
        return self.directory / "results" / self.study["name"]

    def command(self, *options: str) -> list[str]:
        """Return Snakemake's command line; `options` go before the study's file."""
        import yaml  # not above: tests/cuda runs where of all packages only torch and numpy are

        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "study.yaml"
        file.write_text(yaml.safe_dump(self.study, sort_keys=False))
        return [
            *(sys.executable, "-m", "snakemake"),
            *("--snakefile", str(self.root / "Snakefile")),
            *("--workflow-profile", str(self.root / "profiles" / "default")),
            *("--directory", str(self.directory)),
            *("--cores", "2"),
            *options,
            *("--configfile", str(file)),
        ]

    def variables(self) -> dict[str, str]:
        """Return the environment of the run."""
        variables = {**os.environ, **self.environment, "PYTHONDONTWRITEBYTECODE": "1"}
        # Jobs of all tests have one environment, and so one warm process.
        variables.pop("PYTEST_CURRENT_TEST", None)
        if self.source is not None:
            variables["PYTHONPATH"] = str(self.source)
        return variables

    def run(self, *options: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; `ok=False` expects it to fail."""
        done = self._done("run", *options)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done

    def _done(self, what: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run or plan to the end; code that was changed needs an interpreter of its own."""
        command = self.command(*options)
        if self.source is not None:
            command[:3] = [sys.executable, "-c", PLAN] if what == "plan" else command[:3]
            return subprocess.run(
                command,
                env=self.variables(),
                text=True,
                capture_output=True,
                timeout=600,
                check=False,
            )
        from tests.warm_snakemake import ask

        done = ask(what, command[3:], self.variables())
        return subprocess.CompletedProcess(command, *done)

    def run_script(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; its arguments are those of Snakemake."""
        return subprocess.run(
            [sys.executable, "-c", script, *self.command(*options)[3:]],
            env=self.variables(),
            text=True,
            capture_output=True,
            check=False,
        )

    def planned(self, *options: str) -> set[str]:
        """Return the jobs that would run, as `rule wildcard/wildcard`."""
        done = self._done("plan", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith("JOB ")]
        return {" ".join(line[1:]) for line in lines}

    def copy(self, directory: Path) -> Workflow:
        """Return the same finished study in a folder of its own, free to be changed."""
        import copy

        shutil.copytree(self.directory, directory, symlinks=True)
        return Workflow(directory, copy.deepcopy(self.study), self.source, dict(self.environment))

    def copy_source(self, directory: Path) -> Path:
        """Run the package from a copy from now on, and return the copy's `xferpipe` folder."""
        shutil.copytree(
            ROOT / "src" / "xferpipe",
            directory / "src" / "xferpipe",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        shutil.copytree(ROOT / "csrc", directory / "csrc")
        self.source = directory / "src"
        return directory / "src" / "xferpipe"


@pytest.fixture(scope="session")
def new_workflow() -> type[Workflow]:
    """The runner, for a test that brings its own study: call it with a folder and a study."""
    return Workflow


@pytest.fixture
def tiny_study() -> dict[str, Any]:
    """A study of seconds, free to be changed."""
    import copy

    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """One finished run of the tiny study; tests copy it before they change anything.

    Workers of one session share it: the first one builds, under a lock, the others wait.
    """
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    workflow = Workflow(base / "finished_run", TINY)
    with FileLock(base / "finished_run.lock"):
        if not (base / "finished_run.done").exists():
            (base / "finished_run.done").write_text(workflow.run().stderr)
    return workflow


@pytest.fixture(scope="session")
def finished_console(finished_run: Workflow) -> list[str]:
    """The lines that the finished run of the tiny study told."""
    return finished_run.directory.with_suffix(".done").read_text().splitlines()


@pytest.fixture
def finished(finished_run: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the finished run."""
    return finished_run.copy(tmp_path / "study")
