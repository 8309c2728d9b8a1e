"""The content of a user's files as one short text: what says whether they changed between runs.

Dates say little (a copy is new, a restored file is old), so the bytes are hashed; each file once,
until its size, inode or time of change differs (`ctime`, which no program can set back). Which
files of a data set count is told by its reader: what it does not read changes nothing. Called while
Snakemake parses: no torch, nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from xferpipe.config.datasets import Dataset
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.readers import reader_module
from xferpipe.records import atomic_path

#: A file changed this lately may be written again within the clock's grain: never remembered.
_SETTLED_NS = 2_000_000_000
#: Files that one thread looks at before it takes the next.
_BLOCK = 256


def dataset_fingerprint(dataset: Dataset, *, cache: Path | None = None) -> str:
    """Hash the files that a data set's reader reads; empty where it reads none of the user's.

    Args:
        dataset: A data set of the study.
        cache: Folder of remembered hashes; unset: `xferpipe/fingerprints` in the user's cache.
    Returns:
        64 hexadecimal digits (a table: 128), the same wherever the files lie.
    Raises:
        DatasetError: A folder or the table is missing, or a file cannot be read.
    """
    if getattr(dataset, "root", None) is None:
        return ""
    table = getattr(dataset, "path", None)
    start = "" if table is None else file_fingerprint(table, cache=cache)
    names = reader_module(dataset.reader).files(dataset)
    if names is None:
        return ""
    return start + fingerprint(dataset.root, names, use=use_of(dataset), cache=cache)


def use_of(dataset: Dataset) -> str:
    """Name what a data set's files are read for, under which their hashes are remembered."""
    table = getattr(dataset, "path", None)
    return f"{dataset.reader} {getattr(dataset, 'test_list', '')} {table and table.resolve()}"


def contents(
    root: Path | str, names: list[str], use: str = "", *, cache: Path | None = None
) -> list[str | None]:
    """Return a short hash of each file's bytes: equal where files are exact copies.

    Args:
        root: The folder.
        names: Files relative to it.
        use: As for `fingerprint`, which remembers the hashes; others are taken and not remembered.
        cache: As for `dataset_fingerprint`.
    Returns:
        16 hexadecimal digits each; None for a file that is not there.
    """
    known = _known(_store(Path(root), use, cache))
    parts = [names[start : start + _BLOCK] for start in range(0, len(names), _BLOCK)]
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda part: _entries(part, str(root), known), parts))
    texts = [content for block in blocks for content, _ in block]
    return [None if text == "missing" else text.partition(":")[2][:16] for text in texts]


def file_fingerprint(path: Path | str, *, cache: Path | None = None) -> str:
    """Hash the content of one file, whatever its name.

    Args:
        path: A weight file, table or other file of the user.
        cache: As for `dataset_fingerprint`; a large file is not read again while it is unchanged.
    Raises:
        DatasetError: There is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; put it there, or correct its path in the study")
    (content,) = _contents([path.name], path.parent, _store(path, "file", cache))
    return hashlib.sha256(content.encode()).hexdigest()


def fingerprint(
    root: Path | str, names: Iterable[str], *, use: str = "", cache: Path | None = None
) -> str:
    """Hash some files below a folder: relative names, sizes and bytes.

    Args:
        root: The folder.
        names: Files relative to it; one that is not there counts as missing, for its reader to
            complain about.
        use: What the files are read for: hashes of other uses of the folder are remembered apart.
        cache: As for `dataset_fingerprint`.
    Returns:
        64 hexadecimal digits; the same wherever the folder lies.
    """
    names = sorted(set(names))
    total = hashlib.sha256()
    contents = _contents(names, Path(root), _store(Path(root), use, cache))
    for name, content in zip(names, contents, strict=True):
        total.update(f"{len(name)}:{name}\x1f{content}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _contents(names: list[str], base: Path, store: Path) -> list[str]:
    """Return each file's size and hash as text, and remember them."""
    known = _known(store)
    # Hashing lets go of the interpreter's lock, and network folders answer many requests at once.
    parts = [names[start : start + _BLOCK] for start in range(0, len(names), _BLOCK)]
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda part: _entries(part, str(base), known), parts))
    found = [entry for block in blocks for entry in block]
    remembered = {
        name: entry for name, (_, entry) in zip(names, found, strict=True) if entry is not None
    }
    if remembered != known:
        _remember(store, remembered)
    return [content for content, _ in found]


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
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            found.append(("missing", None))
            continue
        except (OSError, ValueError) as error:
            # ValueError: a table lists a name with a null character.
            raise DatasetError(
                f"{path!r} cannot be read ({error}); make it readable, or take it away"
            ) from None
        settled = entry[4] - state.st_ctime_ns > _SETTLED_NS
        found.append((f"{state.st_size}:{entry[3]}", entry if settled else None))
    return found


def _store(place: Path, use: str, cache: Path | None) -> Path:
    if cache is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(home) / "xferpipe" / "fingerprints"
    name = hashlib.sha256(f"{place.resolve()}\0{use}".encode(errors="surrogateescape"))
    return cache / f"{name.hexdigest()[:24]}.json"


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
