"""Copies of the repository to install from, and a Python to install into."""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md")
#: What a run needs beside the package.
WORKFLOW = ("Snakefile", "config.yaml", "requirements.lock", "profiles", "studies", "workflow")


def repository_copy(folder: Path, *, native: bool) -> Path:
    """Copy what is installed from; without the kernels' sources nothing is compiled."""
    folder.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
    for name in (*_FILES, *WORKFLOW, "src", *(["csrc"] if native else [])):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def borrowed_prefix(prefix: Path) -> Path:
    """Make an environment that borrows the installed packages, pip included, but not this one."""
    venv.create(prefix, with_pip=False, symlinks=True)
    library = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    # A path in a .pth file is searched, and .pth files there, as of editable installs, are not.
    installed = next(path for path in sys.path if path.endswith("site-packages"))
    (library / "site-packages" / "borrowed.pth").write_text(installed + "\n")
    return prefix
