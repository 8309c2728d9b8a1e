"""Write a study as YAML whose keys are explained by the descriptions of the types."""

from __future__ import annotations

import textwrap
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

from xferpipe.config.study import Study


def commented_yaml(content: dict[str, Any], head: str) -> str:
    """Return a study as YAML, with a comment where a key occurs for the first time.

    Args:
        content: The study, without a smoke block.
        head: Comment lines to begin with.
    """
    lines = [head]
    seen: set = set()
    for key, value in content.items():
        lines += [*_yaml({key: value}, Study, None, 0, seen), ""]
    return "\n".join(lines).rstrip() + "\n"


def blocks_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the configuration blocks that a field's type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for part in get_args(annotation) for model in blocks_of(part)]


def _chosen_block(annotation: Any, value: Any) -> type[BaseModel] | None:
    """Choose the block that a value is written for; readers tell data sets apart."""
    models = blocks_of(annotation)
    if len(models) > 1 and isinstance(value, dict):
        models = [m for m in models if m.model_fields["reader"].default == value.get("reader")]
    return models[0] if models else None


def inline(value: Any) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.replace("\n...\n", "").strip()


def _is_short(value: Any, indent: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    nested = value.values() if isinstance(value, dict) else value
    return all(not isinstance(item, dict) for item in nested) and len(inline(value)) + indent < 99


def _comment(text: str, indent: int) -> list[str]:
    return [" " * indent + "# " + line for line in textwrap.wrap(text, 96 - indent)]


def _yaml(
    value: dict[str, Any], block: type[BaseModel] | None, annotation: Any, indent: int, seen: set
) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        field = block.model_fields.get(key) if block is not None else None
        if field is not None and (block, key) not in seen:
            seen.add((block, key))
            text = field.description or ""
            if key == "reader":
                text = (block.__doc__ or "").strip().splitlines()[0]
            lines += _comment(text, indent)
        inner = field.annotation if field is not None else annotation
        lines += _item(f"{' ' * indent}{key}:", item, inner, indent, seen, named=field is None)
    return lines


def _item(
    head: str, item: Any, annotation: Any, indent: int, seen: set, *, named: bool
) -> list[str]:
    block = _chosen_block(annotation, item) if isinstance(item, dict) else None
    explained = block is None or all((block, key) in seen for key in item)
    fits = named and explained and _is_short(item, indent + len(head))
    if isinstance(item, dict) and item and not fits:
        if not named and get_origin(annotation) is dict:
            block = None
        return [head, *_yaml(item, block, annotation, indent + 2, seen)]
    if isinstance(item, list) and any(isinstance(entry, dict) for entry in item):
        return [head, *(f"{' ' * (indent + 2)}- {inline(entry)}" for entry in item)]
    return [f"{head} {inline(item)}"]
