"""The strict base class of every configuration block, and the type of a user's folder or file."""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

#: A name that becomes a folder and a Snakemake wildcard: no slash, space, quote or shell character.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]

#: A part of a path that a shell would replace: `$HOME`, `${DATA}`.
_VARIABLE = re.compile(r"(?:^|/)\$(?:\w+|\{\w+\})(?=/|$)")


def as_written(path: Path) -> Path:
    """Refuse a path that only a shell would understand, and say what to write.

    Raises:
        ValueError: It begins with `~` or has a part such as `$HOME`.
    """
    text = str(path)
    expanded = os.path.expandvars(os.path.expanduser(text))
    if text.startswith("~") and expanded == text and not text.startswith("~/") and text != "~":
        return path  # A file of such a name, and no user's home.
    if text.startswith("~") or _VARIABLE.search(text):
        hint = "the path in full" if expanded == text else expanded
        raise ValueError(
            f"{text!r}: '~' and variables are not expanded, so that a study means the same for "
            f"everybody; write {hint}, or a path that is relative to the folder that snakemake "
            "is started in"
        )
    return path


_PLACE = AfterValidator(as_written)
#: Where a folder or file of the user lies. Its content is computed with, its place never: places
#: are no part of a slice, so that whatever is moved or copied keeps its results.
Place = Annotated[Path, _PLACE]


class Block(BaseModel):
    """A frozen block of the study: unknown keys and silent type changes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def places(self) -> frozenset[str]:
        """Name the fields that say where a user's files lie."""
        return place_fields(type(self))

    def canonical_json(self) -> str:
        """Return sorted JSON without places: what can change a result, in one order.

        A place that is not given is null, one that is given is left out: whether there is such a
        folder or file counts, where it lies does not.
        """
        content = self.model_dump(mode="json")
        _drop_places(self, content)
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


class GrownBlock(Block):
    """A block whose later options are no part of a slice at their defaults.

    They change nothing there, so that the keys of jobs from before they were there stay.
    """

    #: Names of these options.
    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_the_usual(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = plain(self)
        for name in self.later:
            if name in content and getattr(self, name) == type(self).model_fields[name].default:
                del content[name]
        return content


def _drop_places(value: Any, plain: Any) -> None:
    """Take the places out of `plain`, which is `value` as plain data."""
    if isinstance(value, Block):
        for name in value.places():
            if plain[name] is not None:
                del plain[name]
        for name in _fields_with_places_below(type(value)):
            _drop_places(getattr(value, name), plain[name])
    elif isinstance(value, dict):
        for item, plain_item in zip(value.values(), plain.values(), strict=True):
            _drop_places(item, plain_item)
    elif isinstance(value, tuple | list):
        for item, plain_item in zip(value, plain, strict=True):
            _drop_places(item, plain_item)


@functools.cache
def place_fields(block: type[Block]) -> frozenset[str]:
    """Name the fields of a block that say where a user's files lie."""
    return frozenset(
        name
        for name, field in block.model_fields.items()
        if _PLACE in field.metadata or _PLACE in _parts(field.annotation)
    )


@functools.cache
def _fields_with_places_below(block: type[Block]) -> tuple[str, ...]:
    """Name the fields to look into; most blocks have none, and a study has thousands of jobs."""
    return tuple(
        name
        for name, field in block.model_fields.items()
        if any(isinstance(p, type) and _may_have_places(p) for p in _parts(field.annotation))
    )


def _may_have_places(kind: type) -> bool:
    if not issubclass(kind, Block):
        return False
    own = place_fields(kind) or kind.places is not Block.places
    return bool(own or _fields_with_places_below(kind))


def _parts(annotation: Any) -> list[Any]:
    """Return a type and all types within it."""
    inner = get_args(annotation)
    return [annotation, *(part for item in inner for part in _parts(item))]
