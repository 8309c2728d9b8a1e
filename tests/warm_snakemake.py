"""Runs and plans of the real workflow without a new interpreter for each.

Loading Snakemake and reading the package's code takes three seconds of the processor, a plan a
third of one. One process loads and reads once and forks a child for every run and plan, which
begins with all modules loaded and with nothing planned before. The jobs of all runs are forked from
one warm process, which takes eight seconds to load its libraries.

    python -m tests.warm_snakemake     # a request and an answer a line, JSON
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from xferpipe.graph import warm

_ROOT = Path(__file__).resolve().parents[1]
#: Seconds that a run may take.
_MOST = 600


@functools.cache
def _process() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_snakemake"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # The end of its input ends it, where this process is killed, too.
    atexit.register(process.communicate)
    return process


def ask(what: str, arguments: list[str], variables: dict[str, str]) -> tuple[int, str, str]:
    """Run Snakemake, or only plan.

    Args:
        what: `run`, or `plan`, which prints a line `JOB rule wildcard/wildcard` a job.
        arguments: Snakemake's command line.
        variables: The whole environment.
    Returns:
        Exit code, standard output and standard error.
    """
    process = _process()
    assert process.stdin
    assert process.stdout
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("out", "err")]
        request = {"what": what, "arguments": arguments, "variables": variables, "files": files}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, "the process that runs Snakemake has ended"
        out, err = (Path(file).read_text() for file in files)
    return int(line), out, err


def _warm() -> None:
    """Load what runs and plans load, and read the code that keys hold."""
    for module in ("snakemake.cli", "xferpipe.graph.plan"):
        importlib.import_module(module)
    from tests.conftest import TINY

    from xferpipe.config import load_study
    from xferpipe.graph.environment import environment_of
    from xferpipe.graph.graph import all_jobs
    from xferpipe.graph.keys import Keys

    study = load_study(TINY)
    keys = Keys(study, environment_of(_ROOT, conda=False))
    for job in all_jobs(study):
        keys(*job)


def _work(request: dict[str, Any]) -> NoReturn:
    """Do what is asked, in a child, and end it as an interpreter of its own would."""
    code: object = 1
    try:
        os.setsid()
        for stream, file in enumerate(request["files"], start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["variables"])
        _share_warm_process(request["warm"])
        sys.argv = ["snakemake", *request["arguments"]]
        if request["what"] == "plan":
            from tests.conftest import PLAN

            exec(PLAN, {})
        else:
            from snakemake.cli import main

            main(request["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1 if code else 0)


def _share_warm_process(variable: str) -> None:
    """Fork jobs from the warm process of all runs; a test that says how they start has its way."""
    if warm.VARIABLE in os.environ:
        return
    os.environ[warm.VARIABLE] = variable

    def allow(*, here: bool, libraries: object = ()) -> None:
        if not here:
            os.environ.pop(warm.VARIABLE, None)

    warm.allow = allow


def _forked(request: dict[str, Any]) -> int:
    """Return the exit code of a child that does what is asked."""
    child = os.fork()
    if not child:
        _work(request)
    deadline = time.monotonic() + _MOST
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Answer requests until there are no more."""
    # Nothing that a library prints may come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _warm()
    # The warm process ends, and removes the folder, when this process ends.
    folder = Path(tempfile.mkdtemp(prefix="xferpipe-tests-"))
    (folder / warm.MORE_LIBRARIES).write_text("timm\ntorchvision\n")
    shared = {"warm": f"{os.getpid()}:{folder}"}
    for line in sys.stdin:
        print(_forked(json.loads(line) | shared), file=answers, flush=True)


if __name__ == "__main__":
    main()
