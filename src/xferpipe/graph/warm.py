"""Warm starts: jobs of one machine are forked from a process that has loaded the libraries.

Most of a small job is `import torch`. The first job of a run starts a warm process
(`warm_parent.py`), which loads libraries, computes nothing and forks each job. The process that
Snakemake started for the job hands over what it was given and waits for the job's end: it dies as
the job dies, and the job dies with it. Where anything about that fails before the job has begun,
the job runs in Snakemake's own process.

What each side writes to the other: the warm process `READY`, or it closes; the client the length
of its request, with its standard streams, and the request; then `BEGUN`, a `SIGINT` byte for each
interrupt of the client, and at the end the job's wait status.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import importlib
import os
import pickle
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: Main process and folder of the run's sockets; unset, or `off`: jobs start cold.
VARIABLE = "XFERPIPE_WARM"
#: File in that folder with the names of libraries, one a line.
MORE_LIBRARIES = "libraries"
READY, BEGUN, INTERRUPT = b"r", b"b", b"i"
LENGTH, STATUS = struct.Struct("!Q"), struct.Struct("!i")

#: Module whose `run` runs the job that a `snakemake` object describes.
JOB = "xferpipe.graph.job"
#: Seconds to wait for a warm process that still loads its libraries.
_PATIENCE = 120
#: A socket's path may have 107 characters; the name in the folder has 23.
_LONGEST_FOLDER = 80
_THREADS = ("GOTO_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS")
_THREADS += ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
#: Variables that Snakemake gives jobs of one run different values of. The frame of a job sets the
#: threads itself; the others are read whenever they are used.
_OF_ONE_JOB = {"XFERPIPE_PLAN", "PWD", "OLDPWD", "TMPDIR", "TMP", "TEMPDIR", "TEMP", *_THREADS}
#: For the warm process, which must not start a thread before it forks.
_NO_THREADS = dict.fromkeys(_THREADS, "1") | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}


def allow(*, here: bool, libraries: Iterable[str] = ()) -> None:
    """Let the jobs that this Snakemake starts start warm; called before the first.

    They start cold on other systems than Linux, and where the user has set the variable to `off`.

    Args:
        here: Whether jobs are processes of this machine, on no cluster and in no container.
        libraries: What jobs of this run load beside what jobs of every run load.
    """
    if os.environ.get(VARIABLE) == "off" or os.environ.get(VARIABLE, "").startswith(_mark()):
        return
    os.environ.pop(VARIABLE, None)
    if not here or sys.platform != "linux":
        return
    temporary = tempfile.gettempdir()
    folder = tempfile.mkdtemp(
        prefix="xferpipe-", dir=temporary if len(temporary) < _LONGEST_FOLDER - 20 else "/tmp"
    )
    Path(folder, MORE_LIBRARIES).write_text("\n".join(libraries))
    os.environ[VARIABLE] = f"{_mark()}{folder}"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _mark() -> str:
    return f"{os.getpid()}:"


def run(snakemake: Any) -> None:
    """Run a job: forked from the run's warm process where there is one, else in this process."""
    status = _forked(snakemake)
    if status is None:
        importlib.import_module(JOB).run(snakemake)
    else:
        _end_as(os.waitstatus_to_exitcode(status))


def _forked(snakemake: Any) -> int | None:
    """Run the job in a fork of the warm process; None: it has not begun.

    Returns:
        The wait status of the job's process.
    """
    main, _, folder = os.environ.get(VARIABLE, "").partition(":")
    if not main.isdecimal():
        return None
    begun = False
    try:
        parent = _connected(int(main), Path(folder))
        parent.settimeout(_PATIENCE)
        if parent.recv(1) == READY:
            parent.settimeout(None)
            _send(parent, snakemake)
            begun = parent.recv(1) == BEGUN
    except OSError:
        return None
    return _status(parent) if begun else None


def _send(parent: socket.socket, snakemake: Any) -> None:
    umask = os.umask(0o077)
    os.umask(umask)
    request = pickle.dumps(
        {
            "job": JOB,
            "snakemake": snakemake,
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "umask": umask,
            "argv": sys.argv,
            "path": sys.path,
        }
    )
    socket.send_fds(parent, [LENGTH.pack(len(request))], [0, 1, 2])
    parent.sendall(request)


def _status(parent: socket.socket) -> int:
    """Wait for the job's end; an interrupt is the job's."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: parent.send(INTERRUPT))
    answer = b""
    with contextlib.suppress(ConnectionError):
        while len(answer) < STATUS.size and (more := parent.recv(STATUS.size)):
            answer += more
    if len(answer) == STATUS.size:
        return STATUS.unpack(answer)[0]
    print(
        f"the process that this job was forked from was killed, and the job with it; run snakemake "
        f"again ({VARIABLE}=off has each job load the libraries itself)",
        file=sys.stderr,
    )
    return 1 << 8


def _end_as(code: int) -> None:
    """End as the job ended: with its exit code, or by the signal that killed it."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # The job has left its own.
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if code:
        raise SystemExit(code)


def _connected(main: int, folder: Path) -> socket.socket:
    """Connect to the warm process of this interpreter and environment; start it if need be."""
    name = _name()
    place, loading = folder / f"{name}.socket", folder / f"{name}.loading"
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        return _connection(place)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return _connection(place)
        # It lies there until the libraries are loaded: one that could not load them cannot again.
        loading.touch(exist_ok=False)
        place.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            listener.listen(1024)
            _start(main, loading, listener.fileno())
        return _connection(place)


def _connection(place: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(place))
    except OSError:
        connection.close()
        raise
    return connection


def _name() -> str:
    """Name what a warm process must have in common with a job that is forked from it."""
    environment = sorted(set(os.environ) - _OF_ONE_JOB)
    # Where modules lie follows from these; the rest of its path each job brings along.
    common = [sys.executable, sys.prefix, __file__, [(n, os.environ[n]) for n in environment]]
    return hashlib.sha256(repr(common).encode()).hexdigest()[:16]


def _start(main: int, loading: Path, listener: int) -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from xferpipe.graph.warm_parent import serve; "
        f"serve({main}, {str(loading)!r}, {listener})"
    )
    with loading.with_suffix(".log").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **_NO_THREADS},
            pass_fds=[listener],
            start_new_session=True,
        )
