"""What every rule's script does around its one function call."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from xferpipe.config.jobs import Job
from xferpipe.config.resolve import entries_of
from xferpipe.devices import leased
from xferpipe.rebuild.code import is_left_out, modules_of
from xferpipe.rebuild.keys import code_of_job

J = TypeVar("J", bound=Job)


class StaleCodeError(RuntimeError):
    """The code that runs is not the code that the job's key was made from."""


@contextlib.contextmanager
def job_script(snakemake: Any, kind: type[J]) -> Iterator[J]:
    """Give a script its job, send its output to the log, and check its code against its key.

    Args:
        snakemake: The object that Snakemake puts into a script.
        kind: Type of the job in `params.job`.
    Yields:
        The job. Everything the stage may know is in it.
    Raises:
        SystemExit: The stage failed; the message is in the log and on standard error.
    """
    job = kind.model_validate_json(snakemake.params.job)
    threads = str(getattr(job, "compute_threads", snakemake.threads))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr
    with log.open("w", buffering=1) as file, _redirected(file):
        logging.basicConfig(
            stream=file, level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )
        try:
            _check_code(job, snakemake.params.code)
            with _device(job):
                yield job
            _check_imports(job)
        except Exception as error:
            logging.getLogger("xferpipe").exception("%s failed", kind.stage)
            print(f"{kind.stage}: {error}\n(whole log: {log})", file=terminal)
            raise SystemExit(1) from None


@contextlib.contextmanager
def _redirected(file: Any) -> Iterator[None]:
    with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


def _device(job: Job) -> contextlib.AbstractContextManager[Any]:
    """Hold a GPU for a job that wants one; a job of several processes takes what it is given."""
    if getattr(getattr(job, "recipe", None), "processes", 1) > 1:
        return contextlib.nullcontext()
    return leased(getattr(job, "device", "cpu"))


def _check_code(job: Job, expected: str) -> None:
    if expected == "manual":
        return
    if code_of_job(job) != expected:
        raise StaleCodeError(
            f"the code of stage {job.stage} changed after the workflow was planned; "
            "run snakemake again, it will plan with the code as it is now"
        )


def _check_imports(job: Job) -> None:
    """A module that ran but is not in the key would make a later change of it go unseen."""
    covered = set(modules_of(job.stage, entries_of(job)))
    loaded = {name for name in sys.modules if name.startswith("xferpipe.")}
    extra = sorted(
        name
        for name in loaded - covered
        if not is_left_out(name) and getattr(sys.modules[name], "__file__", "").endswith(".py")
    )
    if extra:
        raise StaleCodeError(
            f"stage {job.stage} ran modules that its key does not cover: {', '.join(extra)}; "
            "import them in the stage's modules, or name them in config.resolve.entries_of"
        )
