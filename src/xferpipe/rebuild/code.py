"""Hash the code that computes a stage's numbers, and no other code.

A stage's code is its entry module, every `xferpipe` module that one imports (function-level imports
included), and the registered modules (reader, architecture, score) that its job names. Comments,
docstrings and log lines are removed before hashing: they change no number. `config`, `records`, the
command line and this package are left out: what they own reaches a job through its slice.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

#: Rule -> module of its entry point. A stage that is missing here cannot be keyed.
STAGE_MODULES = {
    "generate": "xferpipe.datasets.generate",
    "manifest": "xferpipe.datasets.manifest",
    "pack": "xferpipe.datasets.pack",
    "pretrain": "xferpipe.pretrain",
    "load_weights": "xferpipe.load_weights",
    "expert": "xferpipe.expert",
    "domain": "xferpipe.domain",
    "features": "xferpipe.features",
    "gradients": "xferpipe.gradients",
    "reference": "xferpipe.features",
    "scores": "xferpipe.scores.stage",
    "finetune": "xferpipe.finetune",
    "retrieval": "xferpipe.retrieval.stage",
    "probe": "xferpipe.minimisers.probe",
    "path": "xferpipe.minimisers.path",
    "probe_finetuned": "xferpipe.minimisers.probe_finetuned",
    "continual": "xferpipe.minimisers.continual",
    "aggregate": "xferpipe.aggregate",
    "report": "xferpipe.report",
}

#: Stages that run every module of a package, whichever of them a job names.
_WHOLE = {"report": "xferpipe.report.charts"}

_LEFT_OUT = (
    "xferpipe.config",
    "xferpipe.records",
    "xferpipe.rebuild",
    "xferpipe.devices",
    "xferpipe.cli",
)
_LOG_NAMES = {"logger", "_logger", "logging", "print", "warnings"}


class CodeError(ValueError):
    """A module that a stage needs is not part of the package."""


def is_left_out(module: str) -> bool:
    """Tell whether a module's code never enters a key."""
    return module == "xferpipe" or any(
        module == name or module.startswith(name + ".") for name in _LEFT_OUT
    )


def module_file(module: str) -> Path | None:
    """Return the source of an `xferpipe` module, or None where it is a name and no module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


class _Strip(ast.NodeTransformer):
    """Remove what changes no number: docstrings and statements that only log."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and not body:
            node.body = [ast.Pass()]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant):
            return None
        call = node.value
        if isinstance(call, ast.Call):
            root: ast.AST = call
            while isinstance(root, ast.Attribute | ast.Call):
                root = root.value if isinstance(root, ast.Attribute) else root.func
            if isinstance(root, ast.Name) and root.id in _LOG_NAMES:
                return None
        return self.generic_visit(node)


def _imports(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    """Return the `xferpipe` modules that a module's source imports, wherever the import stands."""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                start = parts[: len(parts) - node.level + 1]
                base = ".".join([*start, *([base] if base else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] == "xferpipe"}


@functools.cache
def _module(module: str) -> tuple[str, frozenset[str]]:
    """Return a module's stripped source text and the modules it imports."""
    path = module_file(module)
    if path is None:
        raise CodeError(f"{module} is no module of xferpipe; check the names in the study")
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports = _imports(tree, module, path.name == "__init__.py")
    return ast.unparse(_Strip().visit(tree)), frozenset(imports)


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(2, len(parts) + 1)]


@functools.cache
def modules_of(stage: str, entries: tuple[str, ...] = ()) -> tuple[str, ...]:
    """List the modules whose code computes a stage.

    Args:
        stage: Rule name, a key of `STAGE_MODULES`.
        entries: Registered modules that the job uses.
    Returns:
        Module names, sorted; parents of a module are included, as importing it runs them.
    """
    waiting = [STAGE_MODULES[stage], *entries]
    if stage in _WHOLE:
        folder = PACKAGE.joinpath(*_WHOLE[stage].split(".")[1:])
        waiting += [f"{_WHOLE[stage]}.{path.stem}" for path in folder.glob("*.py")]
    found: set[str] = set()
    while waiting:
        for name in _with_parents(waiting.pop()):
            if name in found or is_left_out(name) or module_file(name) is None:
                continue
            found.add(name)
            waiting.extend(_module(name)[1])
    return tuple(sorted(found))


@functools.cache
def code_of(stage: str, entries: tuple[str, ...] = ()) -> str:
    """Hash the code that computes a stage, with the kernels where it calls them.

    Args:
        stage: Rule name.
        entries: Registered modules that the job uses, never their siblings.
    Returns:
        Hexadecimal SHA-256.
    """
    for entry in entries:
        _module(entry)
    digest = hashlib.sha256()
    modules = modules_of(stage, entries)
    for name in modules:
        digest.update(f"{name}\0{_module(name)[0]}\0".encode())
    if any(name == "xferpipe.ops" or name.startswith("xferpipe.ops.") for name in modules):
        digest.update(kernels().encode())
    return digest.hexdigest()


@functools.cache
def kernels() -> str:
    """Hash the C++ and CUDA sources; an installed wheel's built extension stands for them."""
    sources = PACKAGE.parent.parent / "csrc"
    files: Iterable[Path] = sources.rglob("*") if sources.is_dir() else PACKAGE.glob("ops/*.so")
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
