"""A conda channel in a folder, for a machine that reaches no other: this Python, packed for conda.

The packages are real ones, which conda solves, links and activates. Their `python` is a virtual
environment of the Python that runs the tests and sees its installed packages, so that pip finds
every pin of the lock file met.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pip

SUBDIR = "linux-64"


def local_channel(folder: Path) -> str:
    """Make the channel.

    Args:
        folder: Folder to make it in; the channel is `<folder>/conda-forge`.
    Returns:
        Settings of conda (YAML) that put it in the place of conda-forge.
    """
    channel = folder / "conda-forge"
    short = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = f"lib/python{short}/site-packages"

    python = folder / "python"
    (python / "bin").mkdir(parents=True)
    (python / library).mkdir(parents=True)
    real = Path(sys.base_prefix) / "bin" / f"python{short}"
    for name in ("python", "python3", f"python{short}"):
        (python / "bin" / name).symlink_to(real)
    (python / "pyvenv.cfg").write_text(f"home = {real.parent}\n")
    installed = next(path for path in sys.path if path.endswith("site-packages"))
    (python / library / "borrowed.pth").write_text(installed + "\n")

    installer = folder / "pip"
    shutil.copytree(
        Path(pip.__file__).parent,
        installer / library / "pip",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    full = ".".join(map(str, sys.version_info[:3]))
    packages = [
        _package(channel, "python", full, python, []),
        _package(channel, "pip", version("pip"), installer, [f"python {short}.*"]),
    ]
    for name in ("cxx-compiler", "make"):  # The machine's own do the work.
        packages.append(_package(channel, name, "1.0", folder / "nothing", []))
    _index(channel, SUBDIR, dict(packages))
    _index(channel, "noarch", {})
    # Some releases of conda look for a channel of this name, which stands for "no other channels".
    for subdir in (SUBDIR, "noarch"):
        _index(folder / "nodefaults", subdir, {})
    here = folder.as_uri()
    return (
        f"custom_channels: {{conda-forge: {here}, nodefaults: {here}}}\n"
        "default_channels: []\n"
        "channel_priority: strict\n"
        "add_pip_as_python_dependency: false\n"
        f"pkgs_dirs: [{json.dumps(str(folder / 'cache'))}]\n"
    )


def _package(
    channel: Path, name: str, release: str, content: Path, depends: list[str]
) -> tuple[str, dict[str, Any]]:
    """Pack a folder as `<name>-<release>-0.tar.bz2`; return its file's name and index record."""
    record = {
        "name": name,
        "version": release,
        "build": "0",
        "build_number": 0,
        "depends": depends,
        "subdir": SUBDIR,
    }
    content.mkdir(exist_ok=True)
    files = sorted(path for path in content.rglob("*") if path.is_symlink() or path.is_file())
    paths = [
        {
            "_path": str(path.relative_to(content)),
            "path_type": "softlink" if path.is_symlink() else "hardlink",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_in_bytes": path.stat().st_size,
        }
        for path in files
    ]
    info = content / "info"
    info.mkdir(exist_ok=True)
    (info / "index.json").write_text(json.dumps(record))
    (info / "files").write_text("".join(f"{entry['_path']}\n" for entry in paths))
    (info / "paths.json").write_text(json.dumps({"paths": paths, "paths_version": 1}))
    target = channel / SUBDIR / f"{name}-{release}-0.tar.bz2"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:bz2") as archive:
        archive.add(content, arcname=".")
    data = target.read_bytes()
    shutil.rmtree(info)
    sums = {f: hashlib.new(f, data).hexdigest() for f in ("md5", "sha256")}
    return target.name, {**record, **sums, "size": len(data)}


def _index(channel: Path, subdir: str, packages: dict[str, Any]) -> None:
    (channel / subdir).mkdir(parents=True, exist_ok=True)
    content = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}}
    (channel / subdir / "repodata.json").write_text(json.dumps(content))
