"""The content of a folder as one short text: what says whether a data set changed between runs.

Dates say little (a copy is new, a restored file is old), so the bytes are hashed; each file once,
until its size, date or inode changes. Called while Snakemake parses: no torch, nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from xferpipe.datasets.checks import DatasetError
from xferpipe.records import atomic_path

#: A file whose date is this fresh may be written again within the clock's grain: never remembered.
_SETTLED_NS = 2_000_000_000


def fingerprint(root: Path | str, *, cache: Path | None = None) -> str:
    """Hash the files below a folder (or one file): relative paths, sizes and bytes.

    Args:
        root: Folder or file. Names that begin with a dot are left out.
        cache: Folder of remembered hashes; unset: `xferpipe/fingerprints` in the user's cache.
    Returns:
        64 hexadecimal digits; the same wherever the folder lies.
    Raises:
        DatasetError: There is no such folder or file.
    """
    root = Path(root)
    if root.is_file():
        return _fingerprint(root, [(root.name, root)], cache)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; check 'root' of the data set")
    return _fingerprint(root, _walk(root), cache)


def fingerprint_of(root: Path | str, paths: Iterable[str], *, cache: Path | None = None) -> str:
    """Hash some files below a folder, as `fingerprint` does; a missing one counts as missing."""
    root = Path(root)
    return _fingerprint(root, [(path, root / path) for path in set(paths)], cache)


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        # A link to a folder above itself would be walked for ever.
        place = os.path.realpath(folder)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                path = Path(folder, name)
                yield path.relative_to(root).as_posix(), path


def _fingerprint(root: Path, files: Iterable[tuple[str, Path]], cache: Path | None) -> str:
    store = _store(root, cache)
    known = _known(store)
    entries = sorted(files)
    # Hashing lets go of the interpreter's lock, and network folders answer many requests at once.
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda entry: _entry(*entry, known), entries, chunksize=64))
    remembered = {
        name: entry for (name, _), (_, entry) in zip(entries, found, strict=True) if entry
    }
    if remembered != known:
        _remember(store, remembered)
    total = hashlib.sha256()
    for (name, _), (content, _) in zip(entries, found, strict=True):
        total.update(f"{len(name)}:{name}\x1f{content}\n".encode())
    return total.hexdigest()


def _entry(name: str, path: Path, known: dict[str, list]) -> tuple[str, list | None]:
    """Return a file's size and hash as text, and what to remember of it."""
    try:
        state = path.stat()
        key = [state.st_size, state.st_mtime_ns, state.st_ino]
        entry = known.get(name)
        if entry is None or entry[:3] != key:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            entry = [*key, digest, time.time_ns()]
    except FileNotFoundError:
        return "missing", None
    settled = entry[4] - state.st_mtime_ns > _SETTLED_NS
    return f"{state.st_size}:{entry[3]}", entry if settled else None


def _store(root: Path, cache: Path | None) -> Path:
    if cache is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(home) / "xferpipe" / "fingerprints"
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]
    return cache / f"{place}.json"


def _known(store: Path) -> dict[str, list]:
    """Read remembered hashes; a cache that cannot be read is an empty one."""
    try:
        known = json.loads(store.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: entry for name, entry in known.items() if len(entry) == 5}


def _remember(store: Path, entries: dict[str, list]) -> None:
    try:
        with atomic_path(store) as temporary:
            temporary.write_text(json.dumps(entries))
    except OSError:
        # A read-only home costs time at the next start, never the run.
        return
