"""Read a study from its file, in its full or its smoke form, with errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.nodes import Node

from xferpipe.config.messages import boolean_for_a_number, booleans_for_numbers, explain
from xferpipe.config.study import Study
from xferpipe.config.yaml_text import YamlFile, read_yaml, written


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
    nodes: list[Node | None] = []
    origin = "the study"
    if not isinstance(source, dict):
        origin = str(source)
        file = _read(source)
        source, nodes = file.content, [file.node]
    return _formed(source, nodes, origin, smoke=smoke)


def _read(path: Path | str) -> YamlFile:
    try:
        file = read_yaml(path)
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}; expected a study file (YAML)") from None
    # Not only YAMLError: a date such as 2001-99-99 is a ValueError, deep nesting the other.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StudyError(f"{path} is not YAML: {error}") from None
    if file.problems:
        raise _refusal(str(path), file.problems)
    if not isinstance(file.content, dict):
        raise StudyError(f"{path}: expected a mapping of keys, see config.yaml")
    return file


def _formed(source: dict[str, Any], nodes: list[Node | None], origin: str, *, smoke: bool) -> Study:
    """Check the whole study, or lay its smoke block over it and check that."""
    whole = {key: value for key, value in source.items() if key != "smoke"}
    if not smoke:
        return _checked(whole, nodes, origin)
    cut = source.get("smoke")
    if not isinstance(cut, dict):
        raise StudyError(f"{origin} has no smoke block, so it has no smoke form; add one")
    study = _checked(_merge(whole, cut), nodes, origin)
    study._whole = _checked(whole, nodes, origin)
    return study


def _checked(content: dict[str, Any], nodes: list[Node | None], origin: str) -> Study:
    def as_written(place: tuple[str | int, ...], value: object) -> str | None:
        text = written(nodes, place, value)
        # A value of the smoke form stands in its block.
        return written(nodes, ("smoke", *place), value) if text is None else text

    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise _refusal(origin, explain(error, content, as_written, Study)) from None
    if faults := [
        boolean_for_a_number(place, value, as_written)
        for place, value in booleans_for_numbers(content, study)
    ]:
        raise _refusal(origin, faults)
    return study


def _refusal(origin: str, lines: list[str]) -> StudyError:
    return StudyError(f"{origin} cannot be run:\n" + "\n".join(f"  {line}" for line in lines))


def study_of_workflow(config: dict[str, Any], files: list[Path | str]) -> Study:
    """Read the study that Snakemake was given.

    Args:
        config: Snakemake's merged configuration; `--config smoke=true` asks for the smoke form.
        files: The configuration files it came from. What Snakemake's own parser drops is looked for
            in them: keys that are there twice, and `smoke` blocks, which a `smoke=true` hides.
    Returns:
        The checked study.
    Raises:
        StudyError: See `load_study`.
    """
    read = [_read(file) for file in files]
    nodes = [file.node for file in read]
    content = dict(config)
    smoke = content.get("smoke")
    if smoke is None or isinstance(smoke, dict):
        return _formed(content, nodes, "the study", smoke=False)
    if str(smoke).lower() not in ("true", "false"):  # Snakemake hands `smoke=true` on as a text.
        raise StudyError(f"--config smoke={smoke}: expected true or false")
    cuts = (file.content.get("smoke") for file in reversed(read))
    content["smoke"] = next((cut for cut in cuts if cut), None)
    return _formed(content, nodes, "the study", smoke=str(smoke).lower() == "true")
