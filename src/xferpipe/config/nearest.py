"""The name that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel

#: Share of letters in common, in order, from which on a name is near; as for Python's own names.
_NEAR = 0.6
#: Names that are shown where there is room for several.
_MOST = 4


def suggestion(given: object, known: Iterable[object]) -> str:
    """Return " (did you mean 'x'?)" for the nearest of the known names, "" where none is near.

    Args:
        given: What was written; capitals do not count.
        known: Names that there are.
    """
    found = nearest(given, known)
    return f" (did you mean {found[0]!r}?)" if found else ""


def nearest(given: object, known: Iterable[object]) -> list[str]:
    """Return the known names that are near to what was written, the nearest first, at most four."""
    names = {str(name).casefold(): str(name) for name in known}
    text = str(given).casefold()
    found = difflib.get_close_matches(text, names, _MOST, cutoff=_NEAR)
    # Letters that changed places are the likeliest slip, and cost the measure most.
    found.sort(key=lambda name: sorted(name) != sorted(text))
    return [names[name] for name in found]


def keys_at(block: type[BaseModel], place: Iterable[str | int]) -> set[str]:
    """Return the keys that a place within a block may have.

    Args:
        block: What the file as a whole holds.
        place: Keys that lead there, as pydantic names them: kinds of values may stand among them.
    """
    kinds = _alternatives(block)
    for key in place:
        below = [one for kind in kinds for one in _below(kind, key)]
        # A key that leads nowhere is pydantic's word for a kind: its own tag, or its name.
        kinds = below or [kind for kind in kinds if _is_called(kind, key)] or kinds
    return {name for kind in kinds if _is_block(kind) for name in kind.model_fields}


def _alternatives(annotation: Any) -> list[Any]:
    """Return the blocks and collections that a type allows; of `Annotated` and unions, all."""
    if _is_block(annotation) or get_origin(annotation) in (dict, tuple, list):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _alternatives(part)]


def _below(kind: Any, key: str | int) -> list[Any]:
    """Return what a type has under one key."""
    if _is_block(kind):
        field = kind.model_fields.get(key)
        return [] if field is None else _alternatives(field.annotation)
    if isinstance(key, int) != (get_origin(kind) is dict):
        return _alternatives(get_args(kind)[1 if get_origin(kind) is dict else 0])
    return []


def _is_called(kind: Any, key: str | int) -> bool:
    """Tell whether pydantic means a block by a key: by its name, or by the value of a field."""
    if not _is_block(kind):
        return False
    fixed = [value for field in kind.model_fields.values() for value in get_args(field.annotation)]
    return key == kind.__name__ or key in fixed


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
