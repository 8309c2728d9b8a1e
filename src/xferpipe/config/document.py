"""Write the files that are generated from the types: config.yaml, its schema and its reference."""

from __future__ import annotations

import json
import textwrap
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from xferpipe.config.default import DEFAULT
from xferpipe.config.study import Study

_HEAD = """\
# The default study of xferpipe: minutes on two cores, on real data.
# Generated from src/xferpipe/config by `make docs`; docs/configuration.md explains every key.
# Copy it, change it, and run it with: snakemake --cores all --configfile YOUR.yaml
"""
_SMOKE = "Laid over the study by --config smoke=true: the same rules, every axis cut."


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the configuration blocks that a field's type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for part in get_args(annotation) for model in _models(part)]


def _block_of(annotation: Any, value: Any) -> type[BaseModel] | None:
    """Choose the block that a value is written for; readers tell data sets apart."""
    models = _models(annotation)
    if len(models) > 1 and isinstance(value, dict):
        models = [m for m in models if m.model_fields["reader"].default == value.get("reader")]
    return models[0] if models else None


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.replace("\n...\n", "").strip()


def _is_short(value: Any, indent: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    nested = value.values() if isinstance(value, dict) else value
    return all(not isinstance(item, dict) for item in nested) and len(_inline(value)) + indent < 99


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
    block = _block_of(annotation, item) if isinstance(item, dict) else None
    explained = block is None or all((block, key) in seen for key in item)
    fits = named and explained and _is_short(item, indent + len(head))
    if isinstance(item, dict) and item and not fits:
        if not named and get_origin(annotation) is dict:
            block = None
        return [head, *_yaml(item, block, annotation, indent + 2, seen)]
    if isinstance(item, list) and any(isinstance(entry, dict) for entry in item):
        return [head, *(f"{' ' * (indent + 2)}- {_inline(entry)}" for entry in item)]
    return [f"{head} {_inline(item)}"]


def config_yaml(content: dict[str, Any] = DEFAULT, head: str = _HEAD) -> str:
    """Return a study as commented YAML, under a head of comment lines."""
    content = dict(content)
    smoke = content.pop("smoke", None)
    lines = [head]
    seen: set = set()
    for key, value in content.items():
        lines += [*_yaml({key: value}, Study, None, 0, seen), ""]
    if smoke:
        lines += [f"# {_SMOKE}"]
        text = yaml.safe_dump({"smoke": smoke}, sort_keys=False, default_flow_style=None, width=96)
        lines += [text.rstrip()]
    return "\n".join(lines).rstrip() + "\n"


def config_schema() -> str:
    """Return the JSON schema that editors check a study with."""
    schema = Study.model_json_schema()
    schema["properties"]["smoke"] = {"type": ["object", "boolean"], "description": _SMOKE}
    return json.dumps(schema, indent=2) + "\n"


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type_name(get_args(annotation)[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_name(part) for part in get_args(annotation)))
    if origin is dict:
        return f"mapping of {_type_name(get_args(annotation)[1])}"
    if origin in (tuple, list):
        return f"list of {_type_name(get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}
    return names.get(annotation, "any")


def _default_text(field: Any) -> str:
    if field.default_factory is not None:
        return f"`{_inline(field.default_factory())}`"
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    value = field.default
    if isinstance(value, Path):
        value = str(value)
    return f"`{_inline(list(value) if isinstance(value, tuple) else value)}`"


def configuration_reference() -> str:
    """Return `docs/configuration.md`."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from `xferpipe.config` by `make docs`. A study is one YAML file; unknown keys",
        "and impossible combinations are errors before any job starts. A `smoke` block beside",
        "these keys is laid over the study by `--config smoke=true`; null removes a key there.",
    ]
    waiting: list[type[BaseModel]] = [Study]
    done: set[type[BaseModel]] = set()
    while waiting:
        block = waiting.pop(0)
        if block in done:
            continue
        done.add(block)
        lines += ["", f"## {block.__name__}", "", " ".join((block.__doc__ or "").split()), ""]
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for name, field in block.model_fields.items():
            kind = _type_name(field.annotation).replace("|", "\\|")
            cells = (f"`{name}`", kind, _default_text(field), field.description or "")
            lines.append(f"| {' | '.join(cells)} |")
            waiting += _models(field.annotation)
    return "\n".join(lines) + "\n"


def write_all(root: Path) -> None:
    """Write every generated file below the repository's root."""
    from xferpipe.records import markdown

    for path, text in generated_files(markdown()).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def generated_files(tables: str) -> dict[str, str]:
    """Return path -> text of every generated file."""
    return {
        "config.yaml": config_yaml(),
        "workflow/schemas/config.schema.json": config_schema(),
        "docs/configuration.md": configuration_reference(),
        "docs/tables.md": tables,
    }


if __name__ == "__main__":
    write_all(Path.cwd())
