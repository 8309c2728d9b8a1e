"""`xferpipe doctor`: what this installation can do, and what stands in its way."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import NOT_IN_ORDER, look
from xferpipe.cli.options import AsJson

#: Distributions whose versions decide what a study computes or how it runs.
_DISTRIBUTIONS = (
    "xferpipe",
    "torch",
    "torchvision",
    "timm",
    "scikit-learn",
    "polars",
    "pyarrow",
    "snakemake",
    "altair",
)
_GIB = 2**30
#: Free space under which a study is likely to stop half-way.
_LITTLE_GIB = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `state` is ok, note (works, but know this) or problem."""

    part: str
    state: str
    text: str


def doctor(
    directory: Annotated[Path, typer.Option(help="Folder that studies run in.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Check versions, devices, kernels, disk, cached weights and schedulers.

    Leaves with exit code 1 where something keeps studies from running.

    Example: xferpipe doctor --directory /data/studies
    """
    checks = (_versions, _kernels, _gpus, _compiler, _weights, _conda, _slurm)
    findings = _machine()
    with look.progress("looking", quiet=as_json) as report:
        for done, check in enumerate(checks):
            report("looking", done, len(checks))
            findings += check()
        findings += _disk(directory)
    if as_json:
        look.print_json([asdict(finding) for finding in findings])
    else:
        mark = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
        look.print_table(["", "part", "found"], [[mark[f.state], f.part, f.text] for f in findings])
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(NOT_IN_ORDER)


def _machine() -> list[Finding]:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    text = f"{platform.system()} {platform.machine()}, {cores} cores for this process"
    return [
        Finding("machine", "ok", text),
        Finding("python", "ok", f"{platform.python_version()} at {sys.prefix}"),
    ]


def _versions() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    findings = []
    for name in _DISTRIBUTIONS:
        try:
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            if name == "xferpipe":
                cure = "runs from source, not installed: `make install` builds its kernels"
                findings.append(Finding(name, "note", cure))
            else:
                findings.append(Finding(name, "problem", f"missing: pip install {name}"))
    return findings


def _kernels() -> list[Finding]:
    try:
        from xferpipe.ops import native_status

        status = native_status(check_gpus=True)
    except ImportError as error:
        return [Finding("kernels", "problem", f"cannot be loaded: {error}")]
    if not status.loaded:
        return [Finding("kernels", "note", f"torch twins (slower): {status.reason}")]
    findings = [
        Finding("kernels", "ok", f"native; {_pairs(status.dispatch)}"),
        Finding("kernels built", "ok", _pairs(status.build)),
    ]
    for device, text in status.cuda.items():
        state = "note" if "torch twins" in text else "ok"
        findings.append(Finding(f"kernels on {device}", state, text))
    return findings


def _pairs(facts: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items() if value not in ("", None))


def _gpus() -> list[Finding]:
    from xferpipe.devices import gpu_slots

    slots = gpu_slots()
    if not slots:
        return [Finding("gpu", "note", "none: models run on the CPU")]
    import torch

    if not torch.cuda.is_available():
        cure = f"{len(slots)} found, but this torch ({torch.__version__}) cannot use them"
        return [Finding("gpu", "problem", cure)]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [Finding("gpu", "ok", f"{len(slots)} at a time: {', '.join(names)}")]


def _compiler() -> list[Finding]:
    found = [shutil.which(name) for name in ("c++", "g++", "clang++")]
    cpp = next((path for path in found if path), None)
    if cpp is None:
        cure = "none: kernels cannot be built (apt-get install g++)"
        return [Finding("compiler", "note", cure)]
    cuda = shutil.which("nvcc")
    return [Finding("compiler", "ok", f"{cpp}; nvcc: {cuda or 'none, so no CUDA kernels'}")]


def _weights() -> list[Finding]:
    """Count cached weights without importing the libraries that own the caches."""
    from xferpipe.config.cached_weights import hugging_face_hub, torch_checkpoints

    places = {
        "torchvision": (torch_checkpoints(), "*.pth"),
        "timm": (hugging_face_hub(), "models--*"),
    }
    findings = []
    for name, (folder, pattern) in places.items():
        files = sorted(path.name for path in folder.glob(pattern)) if folder.is_dir() else []
        shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
        text = f"{len(files)} in {folder}: {shown}" if files else f"none in {folder}"
        findings.append(Finding(f"{name} weights", "ok" if files else "note", text))
    return findings


def _conda() -> list[Finding]:
    found = next((path for path in map(shutil.which, ("mamba", "conda")) if path), None)
    if found:
        return [Finding("conda", "ok", f"{found}: --use-conda works")]
    return [Finding("conda", "note", "none: --use-conda needs Miniforge; plain runs do not")]


def _slurm() -> list[Finding]:
    found = shutil.which("sbatch")
    text = (
        f"{found}: --workflow-profile profiles/slurm works"
        if found
        else "none: jobs run on this machine"
    )
    return [Finding("slurm", "ok" if found else "note", text)]


def _disk(directory: Path) -> list[Finding]:
    if not directory.is_dir():
        return [Finding("disk", "problem", f"{directory} is no folder")]
    free = shutil.disk_usage(directory).free / _GIB
    if not os.access(directory, os.W_OK):
        return [Finding("disk", "problem", f"{directory.resolve()} cannot be written to")]
    state = "ok" if free >= _LITTLE_GIB else "problem"
    return [Finding("disk", state, f"{free:.1f} GiB free in {directory.resolve()}")]
