"""Which tables a stage writes or reads, and what of their schemas counts: columns and types."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from xferpipe.graph.code.closure import TABLES
from xferpipe.graph.code.package import CodeError, Package
from xferpipe.graph.code.syntax import dotted
from xferpipe.graph.stages import STAGES


def tables_of(stage: str) -> list[str]:
    """Return the tables that a stage writes or reads."""
    return sorted({*STAGES[stage].tables.values(), *STAGES[stage].reads})


def columns(package: Package, table: str) -> list[tuple[str, str]]:
    """Return name and type of a table's columns as the source of `records.schemas` has them.

    Raises:
        CodeError: No such table, or one that is not made of `_columns(...)` alone.
    """
    module, name = TABLES
    definitions = package.scope(module).definitions
    for statement in definitions[name]:
        keys = statement.value.keys
        for key, value in zip(keys, statement.value.values, strict=True):
            if key.value == table:
                return list(_pairs(value, definitions))
    raise CodeError(f"{module}.{name} has no table {table!r}, which a stage writes or reads")


def _pairs(node: ast.expr, definitions: dict[str, list[ast.stmt]]) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _pairs(node.left, definitions)
        yield from _pairs(node.right, definitions)
    elif isinstance(node, ast.Name) and node.id in definitions:
        yield from _pairs(definitions[node.id][0].value, definitions)
    elif isinstance(node, ast.Call) and dotted(node.func) == "_columns":
        for row in node.args:
            yield row.elts[0].value, _type(row.elts[1], definitions)
    else:
        raise CodeError(f"a table is made of _columns(...) and +; found: {ast.unparse(node)}")


def _type(node: ast.expr, definitions: dict[str, list[ast.stmt]]) -> str:
    """Return a type as polars names it: `TEXT` is `polars.String`."""
    name = dotted(node)
    if name not in definitions:
        return ast.unparse(node)
    statement = definitions[name][0]
    target, value = statement.targets[0], statement.value
    if isinstance(target, ast.Tuple):
        names = [item.id for item in target.elts]
        value = value.elts[names.index(name)]
    return ast.unparse(value)
