"""What of Python source counts: syntax trees without help texts, docstrings and log lines.

One walk gives the text to hash and the names that it uses: every start of Snakemake reads some
17,000 lines, and `ast.unparse` alone takes four times as long.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Names whose calls only log, whatever they are bound to.
_LOG_NAMES = frozenset({"logger", "_logger", "logging", "print", "warnings"})
_LOG_MODULES = {"logging", "warnings"}
#: A statement that holds one of these does more than log, or belongs to a generator.
_EFFECTS = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)
_POSITIONS = {"ctx", "kind", "type_comment", "type_ignores"}
_KINDS = [kind for kind in vars(ast).values() if isinstance(kind, type)]
_FIELDS = {
    kind: (
        f"{kind.__name__}(",
        [(name, f"{name}=") for name in kind._fields if name not in _POSITIONS],
    )
    for kind in _KINDS
    if issubclass(kind, ast.AST)
}
_ANNOTATIONS = {"annotation=", "returns="}


@dataclass
class Facts:
    """What some statements say: their text, and the names that they use.

    Attributes:
        text: Canonical text without what changes no number.
        uses: Dotted names that are read, such as `config.scores.METHODS`.
        types: The same inside annotations.
        calls: Dotted names that are called.
        imports: Name bound, and dotted path that it stands for. `a.*` is bound to `*`.
        mentions: Attributes, and strings that could name one.
    """

    text: str = ""
    uses: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    imports: set[tuple[str, str]] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)


def facts_of(nodes: Iterable[ast.AST], package: str, loggers: frozenset[str]) -> Facts:
    """Read statements.

    Args:
        nodes: Statements of one module.
        package: Package that relative imports of the module start from.
        loggers: Names of the module that stand for loggers, of `loggers_of`.
    """
    walk = _Walk(package, _LOG_NAMES | loggers)
    walk.statements(list(nodes))
    walk.facts.text = "\n".join(walk.out)
    return walk.facts


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for names and attributes of names, else nothing."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def loggers_of(tree: ast.AST, source: str) -> frozenset[str]:
    """Return the names that `getLogger` alone binds: `log` may be a logarithm elsewhere."""
    if "getLogger" not in source:
        return frozenset()
    makers = [node for node in ast.walk(tree) if _makes_logger(node)]
    bound = [target for node in makers for target in _targets(node)]
    names = {target.id for target in bound if isinstance(target, ast.Name)}
    return frozenset(names - _bound_otherwise(tree, bound))


def _bound_otherwise(tree: ast.AST, targets: list[ast.expr]) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.update([node.id] if node not in targets else [])
    return names


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _makes_logger(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and dotted(node.value.func) in ("logging.getLogger", "getLogger")
    )


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _of_whole_block(node: ast.Call) -> bool:
    """Tell whether a block is read from another's values, so that it takes no default."""
    parts = (part for argument in node.args for part in ast.walk(argument))
    return any(isinstance(part, ast.Attribute) and part.attr == "model_dump" for part in parts)


class _Walk:
    """Writes a tree down, field by field, and collects the names in it."""

    def __init__(self, package: str, log_names: frozenset[str]) -> None:
        self.facts = Facts()
        self.out: list[str] = []
        self._package = package
        self._log_names = log_names
        self._names = self.facts.uses
        self._special = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Constant: self._constant,
            ast.Call: self._call,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
        }
        self._silent = {
            ast.Pass: lambda node: True,
            ast.Expr: self._only_says,
            ast.Assign: self._binds_logger,
            ast.AnnAssign: self._binds_logger,
            ast.Import: lambda node: all(alias.name in _LOG_MODULES for alias in node.names),
            ast.ImportFrom: lambda node: node.module in _LOG_MODULES and not node.level,
        }

    def statements(self, nodes: list[ast.AST | str | None]) -> None:
        """Write a list down, whatever it holds, without what changes no number."""
        silent = self._silent
        self.out.append("[")
        for node in nodes:
            kind = node.__class__
            if kind in silent and silent[kind](node):
                continue
            self._value(node)
        self.out.append("]")

    def _value(self, value: object) -> None:
        kind = value.__class__
        if kind in self._special:
            self._special[kind](value)
        elif kind in _FIELDS:
            self._node(value)
        else:
            self.out.append("-" if value is None else str(value))

    def _node(self, node: ast.AST) -> None:
        out = self.out
        name, fields = _FIELDS[node.__class__]
        out.append(name)
        for field_name, tag in fields:
            value = getattr(node, field_name, None)
            if value is None:
                continue
            out.append(tag)
            if value.__class__ is list:
                size = len(out)
                self.statements(value)
                if len(out) == size + 2:
                    # Empty lists are not written: a branch that only logs is like none, and
                    # later versions of Python have more fields.
                    del out[size - 1 :]
            elif tag in _ANNOTATIONS:
                outer, self._names = self._names, self.facts.types
                self._value(value)
                self._names = outer
            else:
                self._value(value)
        out.append(")")

    def _name(self, node: ast.Name) -> None:
        self.out.append(node.id)
        if node.ctx.__class__ is ast.Load:
            self._names.add(node.id)

    def _attribute(self, node: ast.Attribute) -> None:
        self.facts.mentions.add(node.attr)
        path = dotted(node)
        if path:
            self.out.append(path)
            self._names.add(path)
            self.facts.mentions.update(path.split(".")[1:])
        else:
            self._node(node)

    def _constant(self, node: ast.Constant) -> None:
        self.out.append(repr(node.value))
        if node.value.__class__ is str and node.value.isidentifier():
            self.facts.mentions.add(node.value)

    def _call(self, node: ast.Call) -> None:
        path = dotted(node.func)
        last = path.rpartition(".")[2]
        if path and not (last == "model_validate" and _of_whole_block(node)):
            self.facts.calls.add(path)
        if last == "Field":
            shown = [keyword for keyword in node.keywords if keyword.arg != "description"]
            node = ast.Call(func=node.func, args=node.args, keywords=shown)
        self._node(node)

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            first = alias.name.split(".")[0]
            self.facts.imports.add((alias.asname or first, alias.name if alias.asname else first))
            # `import a.b` binds `a` and runs `a.b`.
            self.facts.imports.add(("", alias.name))
        self._node(node)

    def _import_from(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self._package.split(".")
            above = ".".join(parts[: len(parts) - node.level + 1])
            base = f"{above}.{base}" if base else above
        for alias in node.names:
            self.facts.imports.add((alias.asname or alias.name, f"{base}.{alias.name}"))
        self._node(node)

    def _only_says(self, node: ast.Expr) -> bool:
        if isinstance(node.value, ast.Constant):
            return True
        return (
            isinstance(node.value, ast.Call)
            and _root(node.value) in self._log_names
            and not any(isinstance(part, _EFFECTS) for part in ast.walk(node))
        )

    def _binds_logger(self, node: ast.Assign | ast.AnnAssign) -> bool:
        if not _makes_logger(node):
            return False
        return all(isinstance(t, ast.Name) and t.id in self._log_names for t in _targets(node))
