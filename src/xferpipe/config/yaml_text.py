"""A study's YAML as it is written: keys that a parser drops, scalars that it takes for others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TEXT = "tag:yaml.org,2002:str"
_INTEGER = "tag:yaml.org,2002:int"
_MERGE = "tag:yaml.org,2002:merge"
#: YAML 1.1 takes such integers for octal ones.
_OCTAL = re.compile(r"[-+]?0[0-7_]+")


class YamlFile(NamedTuple):
    """A file's content, the nodes that hold its text, and what a parser silently misreads in it."""

    content: Any
    node: Node | None
    problems: list[str]


def read_yaml(path: Path | str) -> YamlFile:
    """Read a study file.

    Raises:
        OSError: It cannot be read.
        yaml.YAMLError: It is not YAML. Some hostile files end in ValueError or RecursionError.
    """
    data = Path(path).read_bytes()
    loader = yaml.SafeLoader(data)
    try:
        node = loader.get_single_node()
        # First: making the content of a mapping puts the keys of its merge keys in.
        found = _problems(node)
        return YamlFile(None if node is None else loader.construct_document(node), node, found)
    except yaml.YAMLError:
        # Snakemake takes JSON too, of which YAML refuses what is indented by tabs.
        try:
            return YamlFile(json.loads(data), None, [])
        except ValueError:
            pass
        raise
    finally:
        loader.dispose()


def _problems(node: Node | None) -> list[str]:
    """Say which keys and numbers a YAML parser silently reads as something else.

    Keys that are there twice, of which the last would win; keys that are no text to YAML (`no:`,
    `003:`); integers that begin with a zero, which are octal to it. Merge keys (`<<`) are right.
    """
    found, seen = [], set()
    waiting = [("", node)]
    while waiting:
        where, node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ScalarNode) and node.tag == _INTEGER and _OCTAL.fullmatch(node.value):
            found.append((_line(node), f"{where}: {_octal(node.value)}"))
        if isinstance(node, MappingNode):
            found += _keys(node, where)
        waiting += [(_below(where, part), inner) for part, inner in _items(node)]
    return [text for _, text in sorted(found)]


def written(nodes: Sequence[Node | None], place: Sequence[str | int], value: object) -> str | None:
    """Return how a scalar is written in the last file that has it; None where none says so.

    Args:
        nodes: Nodes of the files, in the order in which they are laid over each other.
        place: Keys and positions that lead to the value.
        value: What was read there: a value from elsewhere, such as the command line, is not found.
    """
    for node in reversed(nodes):
        for part in place:
            # The last: the keys of merge keys come first.
            node = dict(_items(node)).get(part)
        if isinstance(node, ScalarNode) and node.style is None and _value(node) == value:
            return node.value
    return None


def _items(node: Node | None) -> Iterator[tuple[Any, Node]]:
    if isinstance(node, MappingNode):
        yield from (
            (_value(key) if isinstance(key, ScalarNode) else id(key), inner)
            for key, inner in node.value
        )
    elif isinstance(node, SequenceNode):
        yield from enumerate(node.value)


def _keys(node: MappingNode, where: str) -> list[tuple[int, str]]:
    found, first = [], {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode) or key.tag == _MERGE:
            continue
        place, line = _below(where, key.value), _line(key)
        if key.tag != _TEXT:
            found.append((line, f"{place}: {_no_text(key, line)}"))
        elif key.value in first:
            twice = (
                f"this key is there twice, in lines {first[key.value]} and {line}; expected once: "
                "keep one, or give the other a name of its own"
            )
            found.append((line, f"{place}: {twice}"))
        else:
            first[key.value] = line
    return found


def _no_text(key: ScalarNode, line: int) -> str:
    read = yaml.safe_dump(_value(key)).removesuffix("\n...\n").strip()
    reads = f", which YAML reads as {read}" if read != key.value else ""
    return (
        f"expected a text as key in line {line} (given: {key.value or 'nothing'}{reads}); write "
        f"{key.value!r} in quotes"
    )


def _octal(text: str) -> str:
    decimal = text.replace("_", "").lstrip("+-0") or "0"
    return (
        f"a number that begins with 0 is octal in YAML (given: {text}, which is read as "
        f"{int(text.replace('_', ''), 8)}); write '{text}' in quotes for a name, "
        f"{'-' * text.startswith('-')}{decimal} for a number"
    )


def _value(node: ScalarNode) -> Any:
    """Return what the parser makes of a scalar; its text where it makes nothing of it."""
    try:
        return SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError):
        return node.value


def _below(where: str, part: object) -> str:
    return f"{where}.{part}" if where else str(part)


def _line(node: Node) -> int:
    return node.start_mark.line + 1
