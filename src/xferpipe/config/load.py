"""Read a study from its file, in its full or its smoke form, with errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from xferpipe.config.base import Block
from xferpipe.config.study import Study


class StudyError(ValueError):
    """The study cannot be run as written; the message names the key and what is allowed."""


def _merge(base: dict[str, Any], cut: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `cut` laid over it; null removes a key."""
    merged = dict(base)
    for key, value in cut.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _message(error: ValidationError, origin: str) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        text = item["msg"].removeprefix("Value error, ")
        given = item.get("input")
        if item["type"] == "extra_forbidden":
            text = "unknown key"
        elif not isinstance(given, dict | list | tuple | Block):
            text += f" (given: {given!r})"
        lines.append(f"  {where}: {text}" if where else f"  {text}")
    return f"{origin} cannot be run:\n" + "\n".join(lines)


def load_study(source: Path | str | dict[str, Any], *, smoke: bool = False) -> Study:
    """Read and check a study.

    Args:
        source: A YAML file, or its parsed content.
        smoke: Lay the study's own `smoke` block over it: the same rules, every axis cut.
    Returns:
        The checked study.
    Raises:
        StudyError: Unknown keys, wrong types or impossible combinations; names each key.
    """
    origin = "the study"
    if not isinstance(source, dict):
        origin = str(source)
        try:
            source = yaml.safe_load(Path(source).read_bytes())
        except OSError as error:
            raise StudyError(f"{origin}: {error.strerror}; expected a study file (YAML)") from None
        # Not only YAMLError: a date such as 2001-99-99 is a ValueError, deep nesting the other.
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise StudyError(f"{origin} is not YAML: {error}") from None
        if not isinstance(source, dict):
            raise StudyError(f"{origin}: expected a mapping of keys, see config.yaml")
    whole = {key: value for key, value in source.items() if key != "smoke"}
    if not smoke:
        return _checked(whole, origin)
    cut = source.get("smoke")
    if not isinstance(cut, dict):
        raise StudyError(f"{origin} has no smoke block, so it has no smoke form; add one")
    study = _checked(_merge(whole, cut), origin)
    study._whole = _checked(whole, origin)
    return study


def _checked(content: dict[str, Any], origin: str) -> Study:
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError(_message(error, origin)) from None


def study_of_workflow(config: dict[str, Any], files: list[Path | str]) -> Study:
    """Read the study that Snakemake was given.

    Args:
        config: Snakemake's merged configuration; `--config smoke=true` asks for the smoke form.
        files: The configuration files it came from. A `smoke=true` hides their `smoke` blocks, so
            those are read from here.
    Returns:
        The checked study.
    Raises:
        StudyError: See `load_study`.
    """
    content = dict(config)
    smoke = content.get("smoke")
    if smoke is None or isinstance(smoke, dict):
        return load_study(content)
    if str(smoke).lower() not in ("true", "false"):  # Snakemake hands `smoke=true` on as a text.
        raise StudyError(f"--config smoke={smoke}: expected true or false")
    smoke = str(smoke).lower() == "true"
    cuts = [yaml.safe_load(Path(file).read_text()).get("smoke") for file in files]
    content["smoke"] = next((cut for cut in reversed(cuts) if cut), None)
    return load_study(content, smoke=smoke)
