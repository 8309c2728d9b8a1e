"""Starting a stage in several processes through torchrun, when its recipe asks for them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from xferpipe.config.jobs import FinetuneJob, PretrainJob
from xferpipe.records.stamp import Stamp, stamp_of_job, stamping

_JOBS = {"finetune": FinetuneJob, "pretrain": PretrainJob}


class LaunchError(RuntimeError):
    """A process of a job failed; its own error is above in the log."""


def must_launch(processes: int) -> bool:
    """Say whether a stage must start its processes: asked for, and not yet one of them."""
    return processes > 1 and "WORLD_SIZE" not in os.environ


def launch(stage: str, job: FinetuneJob | PretrainJob, paths: dict[str, Path | None]) -> None:
    """Run a stage in `job.recipe.processes` processes and wait for them.

    Args:
        stage: Name of the stage.
        job: The resolved slice.
        paths: The other arguments of the stage's function.
    Raises:
        LaunchError: A process failed.
    """
    stamp = stamp_of_job()
    content = {
        "stage": stage,
        "job": job.model_dump(mode="json"),
        "paths": {name: None if path is None else str(path) for name, path in paths.items()},
        "stamp": stamp and asdict(stamp),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(content, file)
        file.flush()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={job.recipe.processes}", "-m", __name__, file.name]
        code = subprocess.run(command, check=False).returncode
    if code:
        raise LaunchError(
            f"stage {stage} failed in one of {job.recipe.processes} processes (exit code "
            f"{code}); its error is above. processes: 1 runs it in one"
        )


def main() -> None:
    """Run the stage that a file describes, as one of its processes."""
    content = json.loads(Path(sys.argv[1]).read_text())
    job = _JOBS[content["stage"]].model_validate(content["job"])
    paths = {name: None if path is None else Path(path) for name, path in content["paths"].items()}
    stamp = content["stamp"] and Stamp(**content["stamp"])
    module = importlib.import_module(f"xferpipe.stages.{content['stage']}")
    with stamping(stamp):
        getattr(module, content["stage"])(job, **paths)


if __name__ == "__main__":
    main()
