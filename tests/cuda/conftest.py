"""The CUDA kernels built for the CPU, and a device in whose place it stands."""

import fcntl
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from xferpipe.ops import loading, reference
from xferpipe.ops.cuda import Dispatcher
from xferpipe.ops.registered import OPS

SOURCES = Path(__file__).resolve().parents[2] / "csrc"
SHIM = Path(__file__).resolve().parent / "shim"
BUILT = ("sm_80", "sm_90a", "compute_80")
NAMESPACE = "xferpipe_cuda_shim"


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """Return the namespace of the kernels, compiled from csrc/cuda and its binding for the CPU."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if not compiler:
        pytest.skip("no C++ compiler")
    # One build for all workers of a run: the first makes it, the others wait for it.
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared) / NAMESPACE
    folder.mkdir(exist_ok=True)
    target = folder / f"{NAMESPACE}.so"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(compiler, folder, target)
    torch.ops.load_library(target)
    return getattr(torch.ops, NAMESPACE)


def _build(compiler, folder, target):
    # The standard that the extension is built with: fibres need no later one.
    flags = [compiler, "-std=c++17", "-fPIC", "-ffp-contract=off", "-Wno-unknown-pragmas"]
    flags += [f"-I{SOURCES}", f"-I{SHIM}"]
    torch_folder = Path(torch.__file__).parent
    binding = [f"-I{torch_folder / 'include'}", "-DTORCH_TARGET_VERSION=0x020b000000000000"]
    binding += [f"-DXFERPIPE_KERNELS={NAMESPACE}", "-DXFERPIPE_KERNELS_KEY=CPU"]
    jobs = [(["-O2", "-x", "c++"], path) for path in sorted((SOURCES / "cuda").glob("*.cu"))]
    jobs.append((["-O0", *binding], SOURCES / "binding/cuda.cpp"))

    def compile_one(job):
        more, path = job
        done = folder / f"{path.stem}.o"
        command = [*flags, *more, "-c", str(path), "-o", str(done)]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return str(done)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, jobs))
    link = [compiler, "-shared", *objects, "-o", f"{target}.tmp"]
    subprocess.run([*link, f"-L{torch_folder / 'lib'}", "-ltorch_cpu"], check=True)
    os.replace(f"{target}.tmp", target)


def make_dispatcher(kernels, capability=(9, 0)):
    """Return a dispatcher whose device is the CPU."""
    return Dispatcher(kernels, BUILT, lambda device: capability, lambda device: "a stand-in")


@pytest.fixture
def on_the_shim(shim, monkeypatch):
    """Run the public ops through the dispatcher, bindings and kernel bodies."""
    monkeypatch.setenv("XFERPIPE_CUDA", "force")
    dispatcher = make_dispatcher(shim)

    def implementation(name, device_type):
        run = partial(dispatcher.run, name)
        return run if OPS[name].family else getattr(reference, name)

    monkeypatch.setattr(loading, "_implementation", implementation)
    return dispatcher
