"""Write the files that are generated from the types: the schema of a study, and the references."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from xferpipe.config.commented import blocks_of, inline
from xferpipe.config.study import Study

_SMOKE = "Laid over the study by --config smoke=true: the same rules, every axis cut."


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
        return f"`{inline(field.default_factory())}`"
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    value = field.default
    if isinstance(value, Path):
        value = str(value)
    return f"`{inline(list(value) if isinstance(value, tuple) else value)}`"


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
            waiting += blocks_of(field.annotation)
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
        "workflow/schemas/config.schema.json": config_schema(),
        "docs/configuration.md": configuration_reference(),
        "docs/tables.md": tables,
    }


if __name__ == "__main__":
    write_all(Path.cwd())
