"""Adding entries to a block of a study's file; every comment and line that is there stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode

from xferpipe.config.commented import inline


def with_entries(path: Path, block: str, entries: dict[str, dict[str, Any]]) -> str:
    """Return the text of a study with entries added at the end of one of its blocks.

    Args:
        path: A YAML file.
        block: Key of the study, as `zoo`.
        entries: Content by name; none of the names is in the block.
    Raises:
        ValueError: The block is written in one line, so that no line can be added to it.
    """
    text = path.read_text()
    lines = text.splitlines()
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    values = dict(_items(node))
    if block not in values:
        added = [f"{block}:", *_written(entries, 2)]
        return "\n".join([*lines, *([""] if lines and lines[-1].strip() else []), *added]) + "\n"
    found = values[block]
    if not isinstance(found, MappingNode) or found.flow_style or not found.value:
        raise ValueError(
            f"{path}: {block} in line {found.start_mark.line + 1} is written in one line; put each "
            "of its entries in a line of its own first"
        )
    last = _last_line(found)
    added = _written(entries, found.value[0][0].start_mark.column)
    return "\n".join([*lines[: last + 1], *added, *lines[last + 1 :]]) + "\n"


def _items(node: Any) -> list[tuple[str, Any]]:
    pairs = node.value if isinstance(node, MappingNode) else []
    return [(key.value, value) for key, value in pairs]


def _last_line(node: Any) -> int:
    """Return the last line that a node stands in; its end mark is behind comments that follow."""
    parts = []
    if isinstance(node.value, list) and not getattr(node, "flow_style", False):
        last = node.value[-1] if node.value else None
        parts = list(last) if isinstance(last, tuple) else [last] if last is not None else []
    if parts:
        return _last_line(parts[-1])
    # The end of a flow collection or scalar; a block scalar ends where the next line begins.
    end = node.end_mark
    return end.line if end.column else end.line - 1


def _written(entries: dict[str, dict[str, Any]], indent: int) -> list[str]:
    lines = []
    for name, content in entries.items():
        lines.append(f"{' ' * indent}{inline(name)}:")
        lines += [
            f"{' ' * (indent + 2)}{inline(key)}: {inline(value)}" for key, value in content.items()
        ]
    return lines
