"""The content of a folder as one short text: what says whether a data set changed between runs.

Dates say little (a copy is new, a restored file is old), so the bytes are hashed; each file once,
until its size, inode or time of change differs (`ctime`, which no program can set back). Called
while Snakemake parses: no torch, nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars

from xferpipe.config.datasets import Dataset, ImageTable
from xferpipe.datasets.checks import DatasetError
from xferpipe.records import UNREADABLE, atomic_path

#: A file changed this lately may be written again within the clock's grain: never remembered.
_SETTLED_NS = 2_000_000_000
#: Files that one thread looks at before it takes the next.
_BLOCK = 256


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
        return _fingerprint(root, [root.name], root.parent, cache)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; check 'root' of the data set")
    return _fingerprint(root, list(_walk(str(root), "", set())), root, cache)


def fingerprint_of(root: Path | str, paths: Iterable[str], *, cache: Path | None = None) -> str:
    """Hash some files below a folder, as `fingerprint` does; a missing one counts as missing."""
    return _fingerprint(Path(root), list(set(paths)), Path(root), cache)


def dataset_fingerprint(dataset: Dataset, *, cache: Path | None = None) -> str:
    """Hash the files that a data set of the study reads; empty where it reads none of the user's.

    A table's images are those it lists: its root may be a folder that holds much else. A table
    that cannot be read counts as it is, and the manifest stage says what is wrong with it.
    """
    if isinstance(dataset, ImageTable):
        return _table_fingerprint(dataset, cache)
    root = getattr(dataset, "root", None)
    return fingerprint(root, cache=cache) if root is not None and root.exists() else ""


def _table_fingerprint(dataset: ImageTable, cache: Path | None) -> str:
    if not dataset.path.is_file():
        return ""
    table = fingerprint(dataset.path, cache=cache)
    try:
        if dataset.path.suffix.lower() == ".csv":
            rows = polars.read_csv(dataset.path, glob=False, columns=["path"], infer_schema=False)
        else:
            rows = polars.read_parquet(dataset.path, glob=False, columns=["path"])
        paths = rows["path"].cast(polars.String)
    except UNREADABLE:
        return table
    return table + fingerprint_of(dataset.root, paths.drop_nulls(), cache=cache)


def _walk(folder: str, prefix: str, above: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the files below a folder, relative to the first; links are followed, not in circles."""
    state = os.stat(folder)
    place = (state.st_dev, state.st_ino)
    if place in above:
        return
    for item in os.scandir(folder):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _walk(item.path, f"{prefix}{item.name}/", above | {place})
        else:
            yield prefix + item.name


def _fingerprint(place: Path, names: list[str], base: Path, cache: Path | None) -> str:
    store = _store(place, cache)
    known = _known(store)
    names.sort()
    # Hashing lets go of the interpreter's lock, and network folders answer many requests at once.
    parts = [names[start : start + _BLOCK] for start in range(0, len(names), _BLOCK)]
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda part: _entries(part, str(base), known), parts))
    remembered = {}
    total = hashlib.sha256()
    for part, block in zip(parts, blocks, strict=True):
        for name, (content, entry) in zip(part, block, strict=True):
            total.update(f"{len(name)}:{name}\x1f{content}\n".encode(errors="surrogateescape"))
            if entry is not None:
                remembered[name] = entry
    if remembered != known:
        _remember(store, remembered)
    return total.hexdigest()


def _entries(
    names: list[str], base: str, known: dict[str, list]
) -> list[tuple[str, list[int | str] | None]]:
    """Return each file's size and hash as text, and what to remember of it."""
    found = []
    for name in names:
        path = os.path.join(base, name)
        try:
            state = os.stat(path)
            entry = known.get(name)
            if entry is None or entry[:3] != [state.st_size, state.st_ctime_ns, state.st_ino]:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                entry = [state.st_size, state.st_ctime_ns, state.st_ino, digest, time.time_ns()]
        except FileNotFoundError:
            found.append(("missing", None))
            continue
        settled = entry[4] - state.st_ctime_ns > _SETTLED_NS
        found.append((f"{state.st_size}:{entry[3]}", entry if settled else None))
    return found


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
