"""What the native extension is built from, and the hash that its file name carries.

setup.py loads this file by its path, before the package is installed: standard library alone.
"""

import hashlib

_SUFFIXES = {".cpp", ".cu", ".h", ".cuh"}


def native_sources(folder):
    """Return the C++ and CUDA files below a folder, in order, without those that editors hide."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    return [path for path in found if not path.name.startswith(".")]


def source_hash(folder):
    """Hash the sources byte by byte: names the extension and tells one of other sources."""
    digest = hashlib.sha256()
    for path in native_sources(folder):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
