"""Build the native extension and put the workflow into wheels; all else is in pyproject.toml.

The extension is optional at every step: without torch, pybind11 or a compiler the package installs
and runs on its torch twins, and both the build and `xferpipe doctor` print why. nvcc adds the CUDA
kernels when it is found and its absence is printed too.
"""

import hashlib
import os
import platform
import runpy
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "csrc"
#: What a run needs beside the package. A wheel holds it as `xferpipe/workflow`.
WORKFLOW = ("Snakefile", "config.yaml", "requirements.lock", "profiles", "studies", "workflow")
# The package is not installed yet where this runs.
SOURCE_HASH = runpy.run_path(str(ROOT / "src/xferpipe/native_sources.py"))["source_hash"](SOURCES)
TORCH_ABI_FLOOR = "0x020b000000000000"  # 2.11
INSTRUCTION_SETS = {
    "avx512": [
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
        "-mprefer-vector-width=512",
        # GCC's own AVX-512 header trips these.
        *("-Wno-maybe-uninitialized", "-Wno-uninitialized"),
    ],
    "avx2": ["-mavx2", "-mfma"],
    "scalar": [],
}
# Machine code for A100 and H100/H200; for what is newer, code that the driver compiles.
CUDA_TARGETS = {"sm_80": "compute_80", "sm_90a": "compute_90a", "compute_80": "compute_80"}


def say(line):
    """Print one line that pip shows with -v and build logs keep."""
    print(f"xferpipe: {line}", flush=True)


def find_nvcc():
    """Return nvcc's path, or None."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = shutil.which("nvcc", path=f"{home}/bin") if home else shutil.which("nvcc")
    return None if os.environ.get("XFERPIPE_NO_CUDA") else nvcc


class BuildPackage(build_py):
    """Copy the workflow beside the modules; an editable install uses it where it lies."""

    def run(self):
        """Copy the modules, then the workflow."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "xferpipe" / "workflow"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in WORKFLOW:
            if (ROOT / name).is_dir():
                skip = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, target / name, ignore=skip)
            else:
                shutil.copy(ROOT / name, target)


class BuildNative(build_ext):
    """Compile each source with its own flags, link once; never fail the installation."""

    def build_extension(self, ext):
        """Build the extension or print the reason for going without."""
        try:
            self._build(ext)
        except Exception as error:
            say(f"native extension NOT built: {error}")
            say("the package works without it, on slower torch twins (see `xferpipe doctor`)")

    def copy_extensions_to_source(self):
        """Put the extension beside the sources of an editable install; drop older builds."""
        super().copy_extensions_to_source()
        name = self.extensions[0].name.rsplit(".", 1)[1]
        for old in (ROOT / "src/xferpipe/ops").glob("_native_*.so"):
            if not old.name.startswith(name):
                old.unlink()

    def _build(self, ext):
        try:
            import pybind11
        except ImportError as error:
            raise RuntimeError("pybind11 is not installed where the build runs") from error
        try:
            import torch
        except ImportError as error:
            raise RuntimeError("torch is not installed where the build runs") from error
        compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
        if not compiler or not shutil.which(compiler.split()[0]):
            raise RuntimeError("no C++17 compiler found (apt install g++)")
        torch_include = Path(torch.__file__).parent / "include"
        objects = Path(self.build_temp) / "native"
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        version = subprocess.run(
            [*compiler.split(), "--version"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[0]
        cuda = find_nvcc()
        say(f"compiler {version}")
        say(f"CUDA kernels: {'with ' + cuda if cuda else 'skipped, nvcc not found'}")

        extra = os.environ.get("XFERPIPE_CXX_FLAGS", "").split()
        common = [*compiler.split(), "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-g0"]
        common += ["-ffp-contract=off", "-Wall", *extra]
        x86 = platform.machine().lower() in {"x86_64", "amd64"}
        sets = INSTRUCTION_SETS if x86 else {"scalar": []}
        module = ext.name.rsplit(".", 1)[1]
        binding = [
            f"-I{torch_include}",
            f"-DTORCH_TARGET_VERSION={TORCH_ABI_FLOOR}",
        ]
        jobs = [
            (path, f"binding_{path.stem}.o", [*common, *binding])
            for path in sorted((SOURCES / "binding").glob("*.cpp"))
            if path.stem != "module" and (cuda or path.stem != "cuda")
        ]
        # Only the module names the whole of the sources, so only it is compiled at every change.
        python = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_paths()['include']}"]
        about = [
            *python,
            f"-DXFERPIPE_MODULE={module}",
            f'-DXFERPIPE_SOURCE_HASH="{SOURCE_HASH}"',
            f'-DXFERPIPE_COMPILER="{version}"',
            f'-DXFERPIPE_CUDA="{" ".join(CUDA_TARGETS) if cuda else "not built: nvcc not found"}"',
        ]
        # The installed pybind11 comes first: torch brings headers of it that refuse its stable ABI.
        jobs.append(
            (SOURCES / "binding/module.cpp", "binding_module.o", [*common, *about, *binding])
        )
        flags = [f"-DXFERPIPE_HAS_{name.upper()}" for name in sets if name != "scalar"]
        for path in sorted((SOURCES / "cpu").glob("*.cpp")):
            jobs.append((path, f"cpu_{path.stem}.o", [*common, *flags]))
        for name, isa in sets.items():
            jobs.append((SOURCES / "cpu/hot/kernels.cpp", f"hot_{name}.o", [*common, *isa]))
        if "avx512" in sets:
            pairs = [*common, *sets["avx512"], "-mavx512bf16"]
            jobs.append((SOURCES / "cpu/hot/pairs.cpp", "hot_pairs.o", pairs))
        if cuda:
            nvcc = [cuda, "-ccbin", compiler.split()[0], "-std=c++17", "-O3"]
            nvcc += [f"-gencode=arch={arch},code={code}" for code, arch in CUDA_TARGETS.items()]
            nvcc += ["-Xcompiler", "-fPIC,-fvisibility=hidden"]
            for path in sorted((SOURCES / "cuda").glob("*.cu")):
                jobs.append((path, f"cuda_{path.stem}.o", nvcc))
        self._compile_and_link(common, jobs, objects, target, cuda, torch_include.parent / "lib")

    def _compile_and_link(self, common, jobs, objects, target, cuda, torch_lib):
        objects.mkdir(parents=True, exist_ok=True)

        def compile_one(job):
            source, name, command = job
            done = objects / name
            stamp = objects / f"{name}.key"
            key = " ".join(command) + source_key(source)
            if done.exists() and stamp.exists() and stamp.read_text() == key:
                return done
            run = subprocess.run(
                [*command, "-c", str(source), "-o", str(done)], capture_output=True, text=True
            )
            if run.returncode:
                raise RuntimeError(f"{source.relative_to(ROOT)} does not compile:\n{run.stderr}")
            if run.stderr.strip():
                say(run.stderr.strip())
            stamp.write_text(key)
            return done

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            compiled = list(pool.map(compile_one, jobs))
        # No run path: `import torch` comes before the extension and has loaded this library. nvcc
        # links where it compiled, since it knows where its static run-time library lies.
        linker = [cuda, "-ccbin", common[0]] if cuda else common
        link = [*linker, "-shared", *map(str, compiled), "-o", f"{target}.tmp"]
        link += [f"-L{torch_lib}", "-ltorch_cpu"]
        run = subprocess.run(link, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"the extension does not link:\n{run.stderr}")
        os.replace(f"{target}.tmp", target)


def source_key(source):
    """Hash a source with the headers of its side: a change there compiles it again."""
    digest = hashlib.sha256(source.read_bytes())
    side = source.relative_to(SOURCES).parts[0]
    sides = {"binding": ("binding", "cpu", "cuda")}.get(side, (side,))
    folders = [SOURCES / folder for folder in (*sides, "core")]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".h", ".cuh"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


setup(
    package_dir={"": "src"},
    ext_modules=[
        Extension(f"xferpipe.ops._native_{SOURCE_HASH}", sources=[], optional=True),
    ],
    cmdclass={"build_ext": BuildNative, "build_py": BuildPackage},
)
