"""Hash the code that computes a stage's numbers, and no other code.

A stage's code is its entry module, every `xferpipe` module that one imports (function-level imports
included), and the registered modules (reader, architecture, score) that its job names. Of `config`
and `records` only the functions, methods and constants that those modules use count, and the
columns of the stage's own tables. Comments, docstrings, help texts and log lines change no number
and do not count. The command line, `devices`, `native_sources` and this package are left out.
"""

from __future__ import annotations

import functools
import hashlib

from xferpipe.graph.code.closure import Closure
from xferpipe.graph.code.kernels import kernel_hash
from xferpipe.graph.code.package import CodeError, Package, is_left_out
from xferpipe.graph.code.plugins import facts_below, plugin_code
from xferpipe.graph.code.table_columns import columns, tables_of
from xferpipe.graph.sources import PACKAGE

__all__ = [
    "PACKAGE",
    "CodeError",
    "clear",
    "code_of",
    "is_left_out",
    "kernels",
    "modules_of",
    "plugin_code",
    "tables_of",
]


def modules_of(stage: str, entries: tuple[str, ...] = ()) -> tuple[str, ...]:
    """List the modules whose code counts whole for a stage.

    Args:
        stage: Name of the stage.
        entries: Registered modules that the job uses.
    Returns:
        Module names, sorted; parents of a module are included, as importing it runs them.
    """
    return tuple(sorted(_closure(stage, entries).modules))


@functools.cache
def code_of(stage: str, entries: tuple[str, ...] = ()) -> str:
    """Hash the code that computes a stage, with the kernels where it calls them.

    Args:
        stage: Name of the stage.
        entries: Registered modules that the job uses, never their siblings. Those of other
            distributions count for what they use of this one; `plugin_code` hashes the rest.
    Returns:
        Hexadecimal SHA-256.
    Raises:
        CodeError: An entry is no module.
    """
    package, closure = _package(), _closure(stage, entries)
    parts = [f"{name}\0{package.module(name).digest}" for name in sorted(closure.modules)]
    parts += ["\0".join([*name, text]) for name, text in sorted(closure.names.items())]
    parts += [f"{table}\0{columns(package, table)}" for table in tables_of(stage)]
    if any(name == "xferpipe.ops" or name.startswith("xferpipe.ops.") for name in closure.modules):
        parts.append(kernels())
    return hashlib.sha256("\0\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@functools.cache
def kernels() -> str:
    """Hash the C++ and CUDA sources; an installed wheel's built extension stands for them."""
    return kernel_hash(PACKAGE.parent.parent / "csrc", PACKAGE / "ops")


def clear() -> None:
    """Forget what was read, so that the next hash is of the files as they are then."""
    for cached in (_package, _closure, code_of, kernels, plugin_code):
        cached.cache_clear()


@functools.cache
def _package() -> Package:
    return Package(PACKAGE)


@functools.cache
def _closure(stage: str, entries: tuple[str, ...]) -> Closure:
    package = _package()
    ours = [entry for entry in entries if entry.split(".")[0] == "xferpipe"]
    for entry in ours:
        package.module(entry)
    starts = [f"xferpipe.stages.{stage}", *ours]
    others = [entry for entry in entries if entry not in ours]
    outside = [package.outside(facts) for entry in others for facts in facts_below(entry)]
    return Closure(package, starts, outside)
