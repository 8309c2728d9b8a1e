"""What a stage's code reaches: modules that count whole, and names of `config` and `records`.

Values of a block (a class below pydantic's `BaseModel`) reach a job through its slice, so its
fields and validators do not count, but its constants do, and the methods whose names stand anywhere
in the code. Where the code makes a block itself, fields and validators count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import NamedTuple

from xferpipe.graph.code.package import BY_NAME, Code, Package, Use, is_left_out
from xferpipe.graph.code.syntax import dotted

#: The columns of a stage's own tables count in its place: see `tables.py`.
TABLES = ("xferpipe.records.schemas", "TABLES")
#: Names that a study may use -> module. A job's own modules are among its entries, so that a new
#: line leaves the jobs of the others alone.
_REGISTRIES = {("xferpipe.config.scores", "METHODS"), ("xferpipe.config.zoo", "_FAMILIES")}
_VALIDATORS = {"field_validator", "model_validator"}


class Closure:
    """Everything that some modules reach.

    Args:
        package: The sources.
        starts: Modules to begin with.
        outside: Code of other distributions: what it uses counts, its own text does not.

    Attributes:
        modules: Modules that count whole.
        names: Text of the names that count, by module and name.
    """

    def __init__(self, package: Package, starts: Iterable[str], outside: Iterable[Code]) -> None:
        self.modules: set[str] = set()
        self.names: dict[tuple[str, ...], str] = {}
        self._package = package
        self._waiting = [Use(module, "", "read") for module in starts]
        self._seen: set[Use] = set()
        self._mentioned: set[str] = set()
        self._unmentioned: list[tuple[Use, _Method]] = []
        for code in outside:
            self._reach(code)
        while self._waiting or self._called_methods():
            if self._waiting:
                self._use(self._waiting.pop())

    def _reach(self, code: Code) -> None:
        self._waiting.extend(code.uses)
        self._mentioned |= code.mentions

    def _use(self, use: Use) -> None:
        if use in self._seen:
            return
        self._seen.add(use)
        if not is_left_out(use.module):
            self._module(use.module)
        elif use.module.startswith(BY_NAME) and use[:2] != TABLES:
            if use.name:
                self._name(use)
            else:
                self._everything(use.module)

    def _everything(self, module: str) -> None:
        """Reach all that a module of `BY_NAME` defines, imports or, as a package, holds."""
        for paths in self._package.scope(module).bindings.values():
            ours = [path for path in paths if path.split(".")[0] == "xferpipe"]
            self._waiting.extend(self._package.locate(path)._replace(way="built") for path in ours)
        self._waiting.extend(Use(below, "", "read") for below in self._package.below(module))

    def _module(self, module: str) -> None:
        parts = module.split(".")
        for i in range(2, len(parts) + 1):
            name = ".".join(parts[:i])
            if name not in self.modules and self._package.file(name) is not None:
                self.modules.add(name)
                self._reach(self._package.module(name))

    def _name(self, use: Use) -> None:
        block = block_of(self._package, use.module, use.name)
        if block is not None:
            self._block(use, block)
            return
        nodes = self._package.scope(use.module).definitions[use.name]
        if use[:2] in _REGISTRIES or _is_union_of_registered(nodes):
            return
        code = self._package.definition(use.module, use.name)
        if use.way == "type" and isinstance(nodes[0], ast.Assign):
            # An alias of types: what it allows was checked when the slice was made.
            self._waiting.extend(inner._replace(way="type") for inner in code.uses)
            return
        self._count(use, "", code)

    def _block(self, use: Use, block: Block) -> None:
        if use.way == "built":
            self._count(use, "fields", block.fields)
            self._waiting.extend(base._replace(way="built") for base in block.bases)
            self._waiting.append(use._replace(way="read"))
            return
        use = use._replace(way="read")
        if (*use[:2], "") not in self.names:
            self._count(use, "", block.rest)
            self._waiting.extend(block.types)
            self._unmentioned += [(use, method) for method in block.methods]

    def _called_methods(self) -> bool:
        """Count the methods that were mentioned since; tell whether there were any."""
        held, self._unmentioned = self._unmentioned, []
        called = []
        for use, method in held:
            to = called if method.name in self._mentioned else self._unmentioned
            to.append((use, method))
        for use, method in called:
            self._count(use, method.name, method.code)
            if "cls" in method.code.calls:
                self._waiting.append(use._replace(way="built"))
        return bool(called)

    def _count(self, use: Use, part: str, code: Code) -> None:
        self.names[use.module, use.name, part] = code.text
        self._reach(code)


class _Method(NamedTuple):
    name: str
    code: Code


class Block(NamedTuple):
    """The parts of a block: fields with validators, methods, and the rest, which always counts."""

    bases: list[Use]
    fields: Code
    types: list[Use]
    methods: list[_Method]
    rest: Code


def block_of(package: Package, module: str, name: str) -> Block | None:
    """Return the parts of a class below `BaseModel`, or None for any other definition."""
    key = (module, name)
    if key not in package.blocks:
        node = package.scope(module).definitions[name][-1]
        is_block = isinstance(node, ast.ClassDef) and _is_block(package, module, node)
        package.blocks[key] = _parts(package, module, node) if is_block else None
    return package.blocks[key]


def _is_block(package: Package, module: str, node: ast.ClassDef) -> bool:
    for base in map(dotted, node.bases):
        first = base.partition(".")[0]
        if package.scope(module).imports.get(first, set()) & {"pydantic", "pydantic.BaseModel"}:
            return True
    return any(
        block_of(package, base.module, base.name) is not None
        for base in _bases(package, module, node)
    )


def _bases(package: Package, module: str, node: ast.ClassDef) -> list[Use]:
    uses = package.code(module, [ast.Expr(base) for base in node.bases]).uses
    return [use for use in uses if use.name and use.way == "read"]


def _parts(package: Package, module: str, node: ast.ClassDef) -> Block:
    fields: list[ast.stmt] = []
    methods: dict[str, list[ast.stmt]] = {}
    rest: list[ast.stmt] = []
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and _is_field(part):
            fields.append(part)
        elif not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            rest.append(part)
        elif any(_decorator(item) in _VALIDATORS for item in part.decorator_list):
            fields.append(part)
        elif part.name.startswith("__"):
            rest.append(part)
        else:
            methods.setdefault(part.name, []).append(part)
    head = ast.ClassDef(
        name=node.name,
        bases=node.bases,
        keywords=node.keywords,
        body=rest,
        decorator_list=node.decorator_list,
    )
    followed = [part for part in fields if isinstance(part, ast.AnnAssign)]
    followed = [part for part in followed if not _is_union_of_registered([part])]
    annotations = package.code(module, [ast.Expr(part.annotation) for part in followed])
    return Block(
        bases=_bases(package, module, node),
        fields=package.code(module, fields),
        types=[use._replace(way="type") for use in annotations.uses],
        methods=[_Method(name, package.code(module, nodes)) for name, nodes in methods.items()],
        rest=package.code(module, [head]),
    )


def _is_field(node: ast.AnnAssign) -> bool:
    kind = node.annotation.value if isinstance(node.annotation, ast.Subscript) else node.annotation
    private = isinstance(node.target, ast.Name) and node.target.id.startswith("_")
    return dotted(kind).rpartition(".")[2] != "ClassVar" and not private


def _decorator(node: ast.expr) -> str:
    return dotted(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


def _is_union_of_registered(nodes: list[ast.stmt]) -> bool:
    """Tell whether this is a union of blocks that a field discriminates.

    Each member has a module of its own, which imports it and which a job names: a new member must
    leave the jobs of the others alone.
    """
    node = nodes[0]
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return False
    places = [node.value, getattr(node, "annotation", None)]
    return any(
        isinstance(part, ast.keyword) and part.arg == "discriminator"
        for place in places
        if isinstance(place, ast.Subscript | ast.Call)
        for part in ast.walk(place)
    )
