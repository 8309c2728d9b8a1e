"""The CUDA launchers built for the CPU, and a device in whose place they stand."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from xferpipe.ops import loading, reference
from xferpipe.ops.cuda import Dispatcher, Launcher
from xferpipe.ops.cuda.dispatch import ON_THE_CPU

SOURCES = Path(__file__).resolve().parents[2] / "csrc"
SHIM = Path(__file__).resolve().parent / "shim"
BUILT = ("sm_80", "sm_90a", "compute_80")


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """Return the launchers for the CPU, whose products are plain float32 loops."""
    return built(tmp_path_factory, "cuda_shim")


def built(tmp_path_factory, name, *defines):
    """Compile csrc/cuda with a C++ compiler: launchers, bodies and bindings as they are."""
    compiler = shutil.which("g++") or shutil.which("c++")
    pybind11 = pytest.importorskip("pybind11")
    if not compiler:
        pytest.skip("no C++ compiler")
    # One build for all workers of a run: the first makes it, the others wait for it.
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared) / name
    folder.mkdir(exist_ok=True)
    target = folder / f"xferpipe_cuda_shim{sysconfig.get_config_var('EXT_SUFFIX')}"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(compiler, pybind11, folder, target, defines)
    spec = importlib.util.spec_from_file_location("xferpipe_cuda_shim", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _build(compiler, pybind11, folder, target, defines):
    flags = ["-std=c++20", "-fPIC", "-ffp-contract=off", "-Wno-unknown-pragmas", f"-I{SOURCES}"]
    flags += [*defines, f"-I{SHIM}", f"-I{pybind11.get_include()}"]
    flags += [f"-I{sysconfig.get_paths()['include']}"]
    jobs = [("-O2", path) for path in sorted((SOURCES / "cuda").glob("*.cu"))]
    jobs.append(("-O0", SHIM / "module.cpp"))

    def compile_one(job):
        optimise, path = job
        done = folder / f"{path.stem}.o"
        command = [compiler, *flags, optimise, "-x", "c++", "-c", str(path), "-o", str(done)]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return str(done)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, jobs))
    subprocess.run([compiler, "-shared", *objects, "-o", f"{target}.tmp"], check=True)
    os.replace(f"{target}.tmp", target)


def make_dispatcher(module, capability=(9, 0)):
    """Return a dispatcher whose device is the CPU."""
    launcher = Launcher(module, device_type="cpu")
    return Dispatcher(launcher, BUILT, lambda device: capability, lambda device: "a stand-in")


@pytest.fixture
def on_the_shim(shim, monkeypatch):
    """Run the public ops through the dispatcher, launchers and kernel bodies."""
    monkeypatch.setenv("XFERPIPE_CUDA", "force")
    dispatcher = make_dispatcher(shim)

    def implementation(name, device_type):
        run = partial(dispatcher.run, name)
        return getattr(reference, name) if name in ON_THE_CPU else run

    monkeypatch.setattr(loading, "_implementation", implementation)
    return dispatcher
