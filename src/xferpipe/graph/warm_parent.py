"""The warm process of a run: it loads libraries, computes nothing, and forks jobs.

It must have one thread when it forks: what other threads hold at that moment (a lock, a pool's
queue) is held in the child for ever. So it loads no polars, whose own threads start on import, and
refuses to serve where any library has started a thread or opened a GPU.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xferpipe.graph import usage
from xferpipe.graph.sources import drop_stale_bytecode, state_at_start, state_of_sources
from xferpipe.graph.warm import BEGUN, LENGTH, MORE_LIBRARIES, READY, STATUS

#: What jobs of most studies load. `torch.optim` loads `torch._dynamo` with its first optimiser.
LIBRARIES = (
    "numpy",
    "pydantic",
    "yaml",
    "threadpoolctl",
    "snakemake.iocontainers",
    "pyarrow.parquet",
    "PIL.Image",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.sparse.linalg",
    "scipy.spatial.distance",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.discriminant_analysis",
    "torch",
    "torch._dynamo",
    "safetensors.torch",
)
#: What the frame of every job loads of this package, as far as it loads no polars. No stage's
#: modules: the frame checks which of them a job loads.
FRAME = ("xferpipe.config", "xferpipe.config.jobs", "xferpipe.devices")
_PARENT_DEATH_SIGNAL = 1
#: Seconds that a client may take to send its request, while others wait.
_REQUEST_SECONDS = 20


class NotForkableError(RuntimeError):
    """A library has started what a fork would not have."""


@dataclass
class _Job:
    process: int
    client: socket.socket


def serve(main: int, loading: str, listener: int) -> None:
    """Fork a job for each client until the run ends or a source is edited.

    Args:
        main: Process of the run's Snakemake.
        loading: File that is removed when all is loaded.
        listener: The listening socket that clients connect to.
    """
    try:
        state_at_start()
        drop_stale_bytecode()
        run = os.pidfd_open(main)
        load_libraries(Path(loading).with_name(MORE_LIBRARIES))
        check_forkable()
        Path(loading).unlink()
        _Parent(socket.socket(fileno=listener), run, Path(loading).parent).serve()
    except BaseException:
        traceback.print_exc()
    # At once: an interpreter waits for threads, and clients would wait for it.
    _exit(0)


def load_libraries(of_run: Path) -> None:
    """Import what most jobs use; a library that is not installed is left to the job to miss.

    Args:
        of_run: File with the names of what jobs of this run use beside that.
    """
    more = of_run.read_text().split() if of_run.exists() else ()
    for name in (*LIBRARIES, *more, *FRAME):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)


def check_forkable() -> None:
    """Refuse to fork a process that has more than its one thread, or has started a GPU.

    Raises:
        NotForkableError: So it is.
    """
    threads = [Path("/proc/self/task", name, "comm").read_text() for name in _tasks()]
    if len(threads) > 1:
        raise NotForkableError(f"a library has started threads: {', '.join(threads)}")
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/self/fd/{handle}").startswith("/dev/nvidia"):
                raise NotForkableError("a library has opened a GPU")


def _tasks() -> list[str]:
    return os.listdir("/proc/self/task")


class _Parent:
    """Forks jobs and tells clients how they end, one event at a time."""

    def __init__(self, listener: socket.socket, run: int, folder: Path) -> None:
        self._listener = listener
        self._run = run
        self._folder = folder
        self._serving = True
        self._jobs: set[int] = set()
        self._events = selectors.DefaultSelector()
        self._on(listener, self._accept)
        self._on(run, self._run_ended)

    def serve(self) -> None:
        """Serve until nothing more is to come; jobs that run by then come to their end."""
        gc.collect()
        gc.freeze()
        while self._serving or self._jobs:
            for key, _ in self._events.select():
                key.data()

    def _on(self, source: Any, call: Callable[[], None]) -> None:
        self._events.register(source, selectors.EVENT_READ, call)

    def _run_ended(self) -> None:
        self._events.unregister(self._run)
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self) -> None:
        if self._serving:
            self._serving = False
            self._events.unregister(self._listener)
            self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if state_of_sources() != state_at_start():
            # The client's job runs cold, or from a new warm process.
            client.close()
            self._stop()
            return
        client.settimeout(_REQUEST_SECONDS)
        try:
            client.sendall(READY)
            streams, request = _received(client)
            client.settimeout(None)
            process = os.fork()
        except (OSError, EOFError):
            client.close()
            return
        if process == 0:
            self._be_job(streams, request)
        for stream in streams:
            os.close(stream)
        self._watch(_Job(process, client))

    def _watch(self, job: _Job) -> None:
        with contextlib.suppress(OSError):
            os.setpgid(job.process, job.process)
        with contextlib.suppress(OSError):
            job.client.sendall(BEGUN)
        self._jobs.add(job.process)
        ended = os.pidfd_open(job.process)
        self._on(job.client, lambda: self._client_says(job))
        self._on(ended, lambda: self._job_ended(job, ended))

    def _client_says(self, job: _Job) -> None:
        """Pass an interrupt on; a client that is gone takes its job with it."""
        said = b""
        with contextlib.suppress(OSError):
            said = job.client.recv(1)
        if not said:
            self._events.unregister(job.client)
        if job.process in self._jobs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.process, signal.SIGINT if said else signal.SIGKILL)

    def _job_ended(self, job: _Job, ended: int) -> None:
        _, status = os.waitpid(job.process, 0)
        self._jobs.discard(job.process)
        self._events.unregister(ended)
        os.close(ended)
        with contextlib.suppress(KeyError):
            self._events.unregister(job.client)
        with contextlib.suppress(OSError):
            job.client.sendall(STATUS.pack(status))
        job.client.close()

    def _be_job(self, streams: list[int], request: bytes) -> None:
        """Become the job, in the forked process; never return."""
        code = 1
        try:
            _die_with(os.getppid())
            self._close()
            code = _ran(streams, pickle.loads(request))
            # As an interpreter ends, but for taking apart what the kernel takes back anyway.
            threading._shutdown()
            atexit._run_exitfuncs()
        except BaseException:
            traceback.print_exc()
        finally:
            _exit(code)

    def _close(self) -> None:
        """Close what is the parent's: a client would wait for ever on a socket that a job holds."""
        for key in list(self._events.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
            else:
                key.fileobj.close()
        self._events.close()


def _received(client: socket.socket) -> tuple[list[int], bytes]:
    """Receive a client's standard streams and its request."""
    header, streams, _, _ = socket.recv_fds(client, LENGTH.size, 3)
    request = bytearray()
    try:
        (length,) = LENGTH.unpack(header)
        while len(request) < length:
            more = client.recv(min(length - len(request), 1 << 20))
            if not more:
                raise EOFError
            request += more
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise
    return streams, bytes(request)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the warm one dies."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _ran(streams: list[int], request: dict[str, Any]) -> int:
    """Run the job as if this were the client's process; return its exit code."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    sys.argv[:], sys.path[:] = request["argv"], request["path"]
    tempfile.tempdir = None
    usage.forked = True
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()  # Like Python's own, which a fork draws anew.
    try:
        importlib.import_module(request["job"]).run(request["snakemake"])
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return 0


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
