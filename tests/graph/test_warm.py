"""Warm starts on real processes: the warm one, clients in Snakemake's place, and their jobs.

The large libraries are empty stand-ins here, so that a warm process starts at once; the tests at
the end load the real ones.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from xferpipe.graph import warm, warm_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts are for Linux")

SOURCE = Path(warm.__file__).parents[2]
LARGE = ("PIL", "pyarrow", "safetensors", "scipy", "sklearn", "torch")
CLIENT = """
import sys, types
from xferpipe.graph import warm
warm.JOB = "job_of_test"
warm.run(types.SimpleNamespace(code=sys.argv[1]))
"""
JOB = """
def run(snakemake):
    exec(snakemake.code, {})
"""
REPORT = """
import json, os, sys
umask = os.umask(0); os.umask(umask)
print(json.dumps({
    "process": os.getpid(), "parent": os.getppid(), "folder": os.getcwd(), "umask": umask,
    "environment": dict(os.environ), "argv": sys.argv,
    "warm": sys.modules["xferpipe.graph.usage"].forked,
    "threads": len(os.listdir("/proc/self/task")),
}))
"""
STAY = """
import os, pathlib, time
pathlib.Path("started").write_text(str(os.getpid()))
try:
    time.sleep(60)
finally:
    pathlib.Path("cleaned").touch()
"""


@dataclass
class Run:
    """A run of Snakemake as far as its jobs see it: a main process, and clients."""

    folder: Path
    main: subprocess.Popen
    environment: dict[str, str] = field(default_factory=dict)

    def client(self, code: str, **options) -> subprocess.Popen:
        """Start what Snakemake starts for a job."""
        return subprocess.Popen(
            [sys.executable, "-c", CLIENT, code],
            env={**os.environ, **self.environment, **options.pop("variables", {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=options.pop("cwd", self.folder),
            **options,
        )

    def report(self, **options) -> dict:
        """Run a job that says where it runs."""
        output, errors = self.client(REPORT, **options).communicate(timeout=60)
        assert output, errors
        return json.loads(output)

    def started(self) -> psutil.Process:
        """Wait for the job that stays, and return its process."""
        file = self.folder / "started"
        wait(lambda: file.exists() and file.read_text())
        return psutil.Process(int(file.read_text()))


def wait(condition, seconds=30):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)


def gone(process: int) -> bool:
    """Tell whether a process has ended, waited for or not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.fixture
def libraries(tmp_path):
    """A folder with stand-ins for large libraries and the job of these tests."""
    folder = tmp_path / "libraries"
    for name in warm_parent.LIBRARIES:
        if name.split(".")[0] in LARGE:
            module = folder.joinpath(*name.split("."))
            module.mkdir(parents=True, exist_ok=True)
            for package in (module, *module.parents):
                if package == folder:
                    break
                (package / "__init__.py").touch()
    (folder / "job_of_test.py").write_text(
        "import sys\nimport xferpipe.graph.usage\n" + JOB,
    )
    return folder


@pytest.fixture
def run(tmp_path, libraries):
    """A run whose warm processes have to end with it."""
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    (tmp_path / "work").mkdir()
    main = subprocess.Popen(["sleep", "600"])
    environment = {
        "PYTHONPATH": os.pathsep.join([str(libraries), str(SOURCE)]),
        warm.VARIABLE: f"{main.pid}:{sockets}",
    }
    yield Run(tmp_path / "work", main, environment)
    mine = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(sockets) in " ".join(process.info["cmdline"] or ())
    ]
    main.kill()
    main.wait()
    wait(lambda: all(map(gone, mine)))
    assert not mine or not sockets.exists()


def test_job_is_a_fork_and_has_all_of_its_client(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    variables = {"OMP_NUM_THREADS": "3", "XFERPIPE_PLAN": "a plan"}
    job = run.report(cwd=other, variables=variables, umask=0o027)
    assert job["warm"]
    assert job["threads"] == 1
    assert job["folder"] == str(other)
    assert job["umask"] == 0o027
    assert job["argv"] == ["-c", REPORT]
    expected = {**os.environ, **run.environment, **variables}
    assert {name: job["environment"].get(name) for name in expected} == expected
    assert "JE_ARROW_MALLOC_CONF" not in job["environment"]


def test_jobs_that_start_at_once_share_a_warm_process(run):
    clients = [run.client(REPORT) for _ in range(4)]
    jobs = [json.loads(client.communicate(timeout=60)[0]) for client in clients]
    assert len({job["parent"] for job in jobs}) == 1
    assert len({job["process"] for job in jobs}) == 4


def test_warm_process_is_of_the_same_environment(run):
    first = run.report(variables={"OMP_NUM_THREADS": "1"})
    assert run.report(variables={"OMP_NUM_THREADS": "2"})["parent"] == first["parent"]
    assert run.report(variables={"LANG": "C"})["parent"] != first["parent"]


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        ("print('here')", 0, "here"),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('in words')", 1, "in words"),
        ("raise ValueError('wrong')", 1, "ValueError: wrong"),
        ("import os; os._exit(7)", 7, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV, ""),
        ("import atexit; atexit.register(print, 'at the end')", 0, "at the end"),
    ],
)
def test_client_ends_as_its_job(run, code, expected, words):
    client = run.client(code)
    output, errors = client.communicate(timeout=60)
    assert client.returncode == expected
    assert words in output + errors


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_job_dies_with_its_client(run, sent):
    if signal.getsignal(sent) is signal.SIG_IGN:
        pytest.skip("these tests were started so that they outlive their terminal")
    client = run.client(STAY)
    job = run.started()
    client.send_signal(sent)
    client.communicate(timeout=30)
    assert client.returncode == -sent
    wait(lambda: gone(job.pid))


def test_interrupt_is_the_jobs_and_lets_it_clean_up(run):
    client = run.client(STAY)
    run.started()
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=30)
    assert client.returncode == -signal.SIGINT
    assert (run.folder / "cleaned").exists()


def test_what_a_job_started_dies_with_its_client(run):
    code = "import pathlib, subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    code += "pathlib.Path('started').write_text(str(child.pid))\nchild.wait()"
    client = run.client(code)
    child = run.started()
    client.kill()
    client.communicate(timeout=30)
    wait(lambda: gone(child.pid))


def test_killed_warm_process_fails_its_jobs_in_words_and_the_next_job_starts_another(run):
    client = run.client(STAY)
    job = run.started()
    first = job.ppid()
    os.kill(first, signal.SIGKILL)
    _, errors = client.communicate(timeout=30)
    assert client.returncode == 1
    assert "was killed, and the job with it" in errors
    wait(lambda: gone(job.pid))
    after = run.report()
    assert after["warm"]
    assert after["parent"] != first


def test_job_that_outlives_the_run_ends_and_then_its_warm_process(run):
    client = run.client(STAY.replace("60", "2"))
    job = run.started()
    parent = job.ppid()
    run.main.kill()
    run.main.wait()
    client.communicate(timeout=30)
    assert client.returncode == 0
    wait(lambda: gone(parent))
    assert not run.report()["warm"]


def test_library_that_starts_a_thread_leaves_jobs_cold(run, libraries):
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    (libraries / "torch" / "__init__.py").write_text(text)
    assert not run.report()["warm"]
    began = time.monotonic()
    assert not run.report()["warm"]
    assert time.monotonic() - began < 20  # It is not tried a second time.
    (log,) = Path(run.environment[warm.VARIABLE].partition(":")[2]).glob("*.log")
    assert "has started threads" in log.read_text()


def test_edited_source_ends_the_warm_process(run, libraries, tmp_path):
    copy = tmp_path / "src"
    shutil.copytree(SOURCE / "xferpipe", copy / "xferpipe")
    run.environment["PYTHONPATH"] = os.pathsep.join([str(libraries), str(copy)])
    first = run.report()
    assert first["warm"]
    with (copy / "xferpipe" / "finetune.py").open("a") as file:
        file.write("# edited\n")
    assert not run.report()["warm"]
    wait(lambda: gone(first["parent"]))
    assert run.report()["parent"] not in (first["parent"], run.main.pid)


def test_run_says_which_more_libraries_its_jobs_load(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(warm.VARIABLE, raising=False)
    warm.allow(here=True, libraries=["timm", "torchvision"])
    folder = Path(os.environ[warm.VARIABLE].partition(":")[2])
    assert (folder / warm.MORE_LIBRARIES).read_text().split() == ["timm", "torchvision"]


@pytest.mark.parametrize("value", ["", "off", "1:/nowhere"])
def test_without_a_warm_process_the_client_runs_the_job(run, value):
    run.environment[warm.VARIABLE] = value
    client = run.client(REPORT)
    job = json.loads(client.communicate(timeout=60)[0])
    assert job["process"] == client.pid


LOADED = """
import os, sys
from pathlib import Path
from xferpipe.graph import warm_parent
warm_parent.load_libraries(Path(sys.argv[1]))
warm_parent.check_forkable()
import torch
assert not torch.cuda.is_initialized()
assert "polars" not in sys.modules
assert "timm" in sys.modules
stages = [name for name in sys.modules if name.startswith("xferpipe.")]
print(*sorted(name for name in stages if name.split(".")[1] not in ("config", "graph")))
"""


def test_real_libraries_start_no_thread_and_no_gpu(tmp_path):
    """Those of models too, which the Snakemake of a run names."""
    (tmp_path / warm.MORE_LIBRARIES).write_text("timm\ntorchvision\n")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, tmp_path / warm.MORE_LIBRARIES],
        env={**os.environ, **warm._NO_THREADS},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["xferpipe.devices"]


THREADS = """
import json
from xferpipe.graph.job import limit_threads
limit_threads(2)
import numpy, scipy.linalg, torch
from threadpoolctl import threadpool_info
torch.ones(64, 64) @ torch.ones(64, 64)
pools = sorted((pool["internal_api"], pool["num_threads"]) for pool in threadpool_info())
print(json.dumps([torch.__config__.parallel_info(), sorted(set(pools))]))
"""


def test_forked_job_computes_with_the_threads_of_a_cold_one(run, libraries):
    run.environment["PYTHONPATH"] = os.pathsep.join([str(libraries), str(SOURCE)])
    for name in LARGE:
        shutil.rmtree(libraries / name)
    warm_job, cold_job = (
        json.loads(run.client(THREADS, variables=variables).communicate(timeout=120)[0])
        for variables in ({"OMP_NUM_THREADS": "1"}, {warm.VARIABLE: "off"})
    )
    assert warm_job == cold_job
    assert "omp_get_max_threads() : 2" in warm_job[0]
