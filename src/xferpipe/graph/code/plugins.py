"""Hash plug-ins: packages of other distributions that add scores."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from xferpipe.graph.code.package import read_facts
from xferpipe.graph.code.syntax import Facts

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@functools.cache
def plugin_code(names: tuple[str, ...], group: str) -> str:
    """Hash the plug-ins among some names: the version and all Python modules of their packages.

    Args:
        names: Names that a study uses; those of no plug-in are passed over.
        group: Entry-point group that plug-ins join by.
    Returns:
        Hexadecimal SHA-256, or nothing where no name is a plug-in's.
    """
    if not names:
        return ""
    from importlib.metadata import entry_points

    points = sorted(entry_points(group=group), key=lambda point: (point.name, point.value))
    parts = [_described(point) for point in points if point.name in names]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest() if parts else ""


def facts_below(module: str) -> Iterator[Facts]:
    """Read all modules of the top-level package that holds `module`."""
    for _, path, package in _modules(module):
        if (facts := _facts(path, package)) is not None:
            yield facts


def _modules(module: str) -> Iterator[tuple[str, Path, str]]:
    """Yield name, file and package of every module of the top-level package of `module`."""
    top = module.split(".")[0]
    spec = find_spec(top)
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None and spec.origin.endswith(".py"):
            yield top, Path(spec.origin), ""
        return
    for folder in spec.submodule_search_locations:
        for path in sorted(Path(folder).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            package = ".".join([top, *parts[:-1]])
            yield package if parts[-1] == "__init__" else f"{package}.{parts[-1]}", path, package


def _described(point: EntryPoint) -> list[str]:
    distribution = [point.dist.name, point.dist.version] if point.dist else []
    modules = _modules(point.module)
    sources = sorted(f"{name}={_source(path, package)}" for name, path, package in modules)
    return [point.name, point.value, *distribution, *sources]


def _source(path: Path, package: str) -> str:
    facts = _facts(path, package)
    return hashlib.sha256(path.read_bytes()).hexdigest() if facts is None else facts.text


def _facts(path: Path, package: str) -> Facts | None:
    """Read a module; None for a file that is no Python, such as a template."""
    try:
        return read_facts(path, package)
    except (SyntaxError, ValueError):
        return None
