"""Find the native extension, or say why the torch twins are used instead."""

import importlib.machinery
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

from ..native_sources import source_hash
from . import reference

HERE = Path(__file__).resolve().parent
#: Beside an editable install; an installed wheel has none.
SOURCES = HERE.parents[2] / "csrc"
TORCH_FLOOR = (2, 11)


@dataclass(frozen=True)
class NativeStatus:
    """What the ops run on.

    Attributes:
        loaded: The native extension is in use.
        reason: Why it is not, or None.
        build: Source hash, compiler, instruction sets, CUDA targets.
        dispatch: Instruction set, bfloat16 dot products and threads of this machine.
        cuda: What each GPU runs the ops on, and why.
    """

    loaded: bool
    reason: str | None = None
    build: dict[str, str] = field(default_factory=dict)
    dispatch: dict[str, str] = field(default_factory=dict)
    cuda: dict[str, str] = field(default_factory=dict)


def _missing_reason():
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        return "the extension was not built: no C++ compiler here (apt install g++), then reinstall"
    return "the extension is not built: run `pip install -e . --no-build-isolation -v` to see why"


@cache
def _load():
    if os.environ.get("XFERPIPE_NO_NATIVE"):
        return None, "XFERPIPE_NO_NATIVE is set"
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    found = sorted(HERE.glob(f"_native_*{suffix}"), key=lambda path: path.stat().st_mtime)
    if not found:
        return None, _missing_reason()
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < TORCH_FLOOR:
        return None, f"torch is {torch.__version__} but the extension needs 2.11 or later"
    # The name tells the sources it was built from. Others may declare other ops.
    if SOURCES.is_dir():
        wanted = f"_native_{source_hash(SOURCES)}."
        found = [path for path in found if path.name.startswith(wanted)]
        if not found:
            return None, "the extension was built from other sources than csrc/: run `make install`"
    path = found[-1]
    name = f"xferpipe.ops.{path.name.split('.')[0]}"
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        return None, f"the extension does not load: {error}"
    from . import cuda, registered

    registered.register()
    targets = module.build_info()["cuda"]
    if targets.startswith("sm_"):
        cuda.register(targets.split())
    return module, None


def native_status(*, check_gpus=False):
    """Report whether the native extension is in use, and if not, why (for `xferpipe doctor`).

    Args:
        check_gpus: Compare the CUDA kernels with their twins now, on every GPU, and not at the
            first call.
    """
    module, reason = _load()
    if module is None:
        return NativeStatus(loaded=False, reason=reason)
    from . import cuda

    build, dispatch = dict(module.build_info()), dict(module.dispatch_info())
    return NativeStatus(True, None, build, dispatch, cuda.report(check_gpus))


def multiply_add_operations(steps):
    """Run multiply-adds on registers alone, on every thread; return how many operations it was.

    Benchmarks divide by the time this takes: the limit of the machine in that very run.
    """
    module, reason = _load()
    if module is None:
        raise RuntimeError(f"the native extension is not in use: {reason}")
    return module.multiply_add_operations(steps)


@cache
def _announce(reason):
    print(f"xferpipe.ops: using torch twins (slower): {reason}", file=sys.stderr)


@cache
def _has_kernel(name, device_type):
    key = {"cpu": "CPU", "cuda": "CUDA"}.get(device_type)
    return key is not None and torch._C._dispatch_has_kernel_for_dispatch_key(
        f"xferpipe::{name}", key
    )


def _implementation(name, device_type):
    """Return the registered op, or its twin where no kernel is for the device."""
    module, reason = _load()
    if module is None:
        _announce(reason)
    elif _has_kernel(name, device_type):
        return getattr(torch.ops.xferpipe, name).default
    return getattr(reference, name)


def call(name, *arguments):
    """Run a registered op where the first argument lives, or its twin where there is no kernel.

    On a GPU the op chooses between kernels and twin itself: see cuda/dispatch.py.
    """
    return _implementation(name, arguments[0].device.type)(*arguments)
