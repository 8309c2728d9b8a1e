"""The sources of the package: modules that count whole, and single names of the others."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from xferpipe.graph.code.syntax import Facts, dotted, facts_of, loggers_of

#: Packages of which only the names that a stage uses count.
BY_NAME = ("xferpipe.config", "xferpipe.records")
_LEFT_OUT = (*BY_NAME, "xferpipe.graph", "xferpipe.devices", "xferpipe.cli")
#: Calls that build a block from part of its fields.
_BUILDERS = {"model_validate", "model_construct"}
#: Files beside the modules that no stage reads: sources, builds, and what editors leave.
_NO_DATA = {".py", ".pyi", ".pyc", ".so", ".pyd", ".bak", ".orig", ".rej", ".swp", ".tmp"}
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class CodeError(ValueError):
    """A module that a stage needs is not part of the package."""


class Use(NamedTuple):
    """A name, or a whole module where `name` is empty, that some code uses.

    `way` is `read`, `built` (a block that the code makes itself) or `type` (in annotations alone).
    """

    module: str
    name: str
    way: str


@dataclass
class Code:
    """A piece of source that counts as one: its text and what it uses."""

    text: str = ""
    uses: frozenset[Use] = frozenset()
    mentions: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Scope:
    """The top level of a module of `BY_NAME`: statements by the name they define, and imports."""

    package: str
    loggers: frozenset[str]
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)
    bindings: dict[str, set[str]] = field(default_factory=dict)


def is_left_out(module: str) -> bool:
    """Tell whether a module is never counted whole."""
    return module == "xferpipe" or _within(module, _LEFT_OUT)


def _within(module: str, packages: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


class Package:
    """The sources below one folder, each read once.

    Args:
        root: Folder of `xferpipe`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, Path | None] = {}
        self._modules: dict[str, Code] = {}
        self._scopes: dict[str, Scope] = {}
        self._definitions: dict[tuple[str, str], Code] = {}
        #: Kept for `closure.block_of`.
        self.blocks: dict[tuple[str, str], Any] = {}

    def file(self, module: str) -> Path | None:
        """Return the source of a module, or None where it is a name and no module."""
        if module not in self._files:
            path = self.root.joinpath(*module.split(".")[1:])
            both = (path / "__init__.py", path.with_suffix(".py"))
            found = next((file for file in both if file.is_file()), None)
            self._files[module] = found if module.split(".")[0] == "xferpipe" else None
        return self._files[module]

    def below(self, module: str) -> list[str]:
        """Name the modules of a package, which has none where it is a module itself."""
        path = self.file(module)
        if path is None or path.name != "__init__.py":
            return []
        names = sorted(file.stem for file in path.parent.glob("*.py"))
        return [f"{module}.{name}" for name in names if name != "__init__"]

    def module(self, module: str) -> Code:
        """Read a module that counts whole.

        Raises:
            CodeError: No such module.
        """
        if module not in self._modules:
            path = self.file(module)
            if path is None:
                raise CodeError(f"{module} is no module of xferpipe; check the names in the study")
            facts = read_facts(path, module if path.name == "__init__.py" else _above(module))
            code = self._code(facts, _bindings(facts), whole=True)
            if path.name == "__init__.py":
                code.text += "".join(_data_of(path.parent))
            self._modules[module] = code
        return self._modules[module]

    def outside(self, facts: Facts) -> Code:
        """Find what a module of another distribution uses of this package."""
        return self._code(facts, _bindings(facts), whole=True)

    def scope(self, module: str) -> Scope:
        """Read the top level of a module."""
        if module not in self._scopes:
            path = self.file(module)
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source, filename=str(path))
            package = module if path.name == "__init__.py" else _above(module)
            self._scopes[module] = _scope(tree, module, package, loggers_of(tree, source))
        return self._scopes[module]

    def code(self, module: str, nodes: list[ast.stmt]) -> Code:
        """Read some statements of a module of `BY_NAME`."""
        scope = self.scope(module)
        facts = facts_of(nodes, scope.package, scope.loggers)
        bindings = dict(scope.bindings)
        for name, paths in _bindings(facts).items():
            bindings[name] = bindings.get(name, set()) | paths
        return self._code(facts, bindings, whole=False)

    def definition(self, module: str, name: str) -> Code:
        """Read all statements that define a name of a module of `BY_NAME`."""
        key = (module, name)
        if key not in self._definitions:
            self._definitions[key] = self.code(module, self.scope(module).definitions[name])
        return self._definitions[key]

    def _code(self, facts: Facts, bindings: dict[str, set[str]], *, whole: bool) -> Code:
        """Find what names stand for; a module that counts whole holds its own imports."""
        uses: set[Use] = set()
        outside: set[str] = set()
        ways = {"read": facts.uses, "type": facts.types, "built": _built(facts.calls)}
        for way, names in ways.items():
            for name in names:
                first, _, rest = name.partition(".")
                for path in bindings.get(first, ()):
                    if path.split(".")[0] == "xferpipe":
                        uses.add(self.locate(f"{path}.{rest}" if rest else path)._replace(way=way))
                    elif way == "read":
                        outside.add(f"{first} is {path}")
        # Importing a module runs it, and a name that is imported and not read is passed on.
        read = {name.partition(".")[0] for name in facts.uses | facts.types}
        for name, path in facts.imports:
            if path.split(".")[0] == "xferpipe":
                use = self.locate(path)
                passed_on = name == "*" or (use.name and name not in read)
                if passed_on or not is_left_out(use.module):
                    uses.add(use)
        text = facts.text if whole else "\n".join([facts.text, *sorted(outside)])
        return Code(text, frozenset(uses), frozenset(facts.mentions), frozenset(facts.calls))

    def locate(self, path: str) -> Use:
        """Find the module and the name in it that a dotted path leads to, through re-exports.

        A path that leads to no name of a module of `BY_NAME` stands for the whole module.
        """
        parts = path.split(".")
        module = parts[0]
        for i, part in enumerate(parts[1:], start=1):
            if part == "*":
                break
            if _within(module, BY_NAME):
                scope = self.scope(module)
                if part in scope.definitions:
                    return Use(module, part, "read")
                for target in sorted(scope.imports.get(part, ())):
                    if target != f"{module}.{part}":
                        return self._follow(target, parts[i + 1 :], module)
            if self.file(f"{module}.{part}") is None:
                break
            module = f"{module}.{part}"
        return Use(module, "", "read")

    def _follow(self, target: str, rest: list[str], module: str) -> Use:
        if target.split(".")[0] != "xferpipe":
            return Use(module, "", "read")
        return self.locate(".".join([target, *rest]))


def read_facts(path: Path, package: str) -> Facts:
    """Read a whole source file; `package` is what its relative imports start from."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, filename=str(path))
    return facts_of(tree.body, package, loggers_of(tree, source))


def _above(module: str) -> str:
    return module.rpartition(".")[0]


def _bindings(facts: Facts) -> dict[str, set[str]]:
    bindings: dict[str, set[str]] = {}
    for name, path in facts.imports:
        bindings.setdefault(name, set()).add(path)
    return bindings


def _built(calls: Iterable[str]) -> set[str]:
    ends = (name.rpartition(".") for name in calls)
    return {start if last in _BUILDERS else f"{start}{dot}{last}" for start, dot, last in ends}


def _scope(tree: ast.Module, module: str, package: str, loggers: frozenset[str]) -> Scope:
    scope = Scope(package, loggers)
    for node in tree.body:
        if isinstance(node, _Definition):
            scope.definitions.setdefault(node.name, []).append(node)
            continue
        for name in _touched(node):
            scope.definitions.setdefault(name, []).append(node)
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            for name, path in facts_of([node], package, loggers).imports:
                scope.imports.setdefault(name, set()).add(path)
    scope.bindings = {name: {f"{module}.{name}"} for name in scope.definitions}
    for name, paths in scope.imports.items():
        scope.bindings[name] = scope.bindings.get(name, set()) | paths
    return scope


def _touched(node: ast.AST) -> set[str]:
    """Return the names that a statement binds, or changes as in `METHODS["lfc"] = ...`."""
    if isinstance(node, _Definition):
        return {node.name}
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
        return set()
    touched = {name for part in ast.iter_child_nodes(node) for name in _touched(part)}
    if isinstance(node, ast.Name | ast.Subscript | ast.Attribute):
        if isinstance(node.ctx, ast.Store | ast.Del):
            touched.add(_base(node))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        touched.add(_base(node.value.func))
    return touched - {""}


def _base(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return dotted(node)


def _data_of(folder: Path) -> Iterable[str]:
    """Yield name and content of the files beside a package's modules, such as style sheets."""
    for path in sorted(folder.iterdir()):
        if path.suffix in _NO_DATA or path.name.startswith((".", "#")) or path.name.endswith("~"):
            continue
        if path.is_file():
            yield f"\n{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}"
