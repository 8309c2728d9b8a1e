"""What is wrong with a study, in words: key, what was given, what is expected, what to write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from xferpipe.config.base import Block
from xferpipe.config.nearest import keys_at, suggestion

#: How a value is written in the file: (place, value) -> text, None where no file says so.
Written = Callable[[tuple[str | int, ...], object], str | None]

_EXPECTED = {
    "bool": "true or false",
    "dict": "a mapping of keys",
    "float": "a number",
    "int": "an integer",
    "model": "a mapping of keys",
    "path": "a path",
    "string": "a text",
    "tuple": "a list, such as [a, b]",
}
#: Keys of earlier versions, by their last two names, and what to do.
_REMOVED = {
    ("selection", "bootstrap_samples"): "no key any more, as intervals over models are closed "
    "forms now; remove it",
}
_NAME = (
    "a name of at most 80 letters, digits, '_', '.' and '-' that begins with a letter or a digit"
)


def explain(
    error: ValidationError, content: dict[Any, Any], written: Written, study: type[Block]
) -> list[str]:
    """Return one line for each key that is wrong.

    Args:
        error: What was found.
        content: The study as it was read.
        written: Tells how a value is written in its file.
        study: What was expected.
    """
    found: dict[tuple, list[dict[str, Any]]] = {}
    choices = set()
    for item in error.errors():
        place = _place(item, content)
        found.setdefault(place, []).append(item)
        if len(item["loc"]) > len(place) and item["loc"][-1] != "[key]":
            choices.add(place)
    # Of a value that may be a list or a word, only the kind that it is nearest to is spoken of.
    deeper = {place[:i] for place in found for i in range(len(place))}
    return [
        _line(place, items, written, keys_at(study, items[0]["loc"][:-1]))
        for place, items in found.items()
        if not (place in choices and place in deeper)
    ]


def booleans_for_numbers(
    given: Any, checked: Any, place: tuple = ()
) -> Iterator[tuple[tuple, bool]]:
    """Yield the places where true or false was silently taken for 1 or 0, and which it was.

    Args:
        given: The study as it was read.
        checked: What became of it.
        place: Where both are.
    """
    if isinstance(given, bool):
        if not isinstance(checked, bool):
            yield place, given
    elif given is checked:
        return
    elif isinstance(given, dict):
        for key, value in given.items():
            part = getattr(checked, key) if isinstance(checked, Block) else checked[key]
            yield from booleans_for_numbers(value, part, (*place, key))
    elif isinstance(given, list | tuple) and isinstance(checked, list | tuple):
        for i, (value, part) in enumerate(zip(given, checked, strict=True)):
            yield from booleans_for_numbers(value, part, (*place, i))


def boolean_for_a_number(place: tuple, value: bool, written: Written) -> str:
    """Say that a number is expected where true or false stands."""
    text = str(value).lower()
    return (
        f"{_dotted(place)}: expected a number (given: {_given(value, written(place, value))}); "
        f"write a number, such as {int(value)}, not {text}"
    )


def _place(item: dict[str, Any], content: Any) -> tuple:
    """Return the keys that lead to a fault, without pydantic's own words for kinds of values."""
    place, value = [], content
    for i, part in enumerate(item["loc"]):
        if _leads_on(value, part):
            # Not `part` itself: pydantic says 0 for the key false.
            place.append(_key(value, part))
            value = value[part]
        elif item["type"] == "missing" and i == len(item["loc"]) - 1:
            place.append(part)
    return tuple(place)


def _key(value: Any, part: str | int) -> Any:
    return next((key for key in value if key == part), part) if isinstance(value, dict) else part


def _leads_on(value: Any, part: str | int) -> bool:
    if isinstance(value, list | tuple):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def _line(place: tuple, items: list[dict[str, Any]], written: Written, keys: Iterable[str]) -> str:
    item = items[0]
    where = f"{_dotted(place)}: " if place else ""
    if (text := _about_a_key(item, keys)) is not None:
        return where + text
    value = item["input"]
    expected = [_expected(one) for one in items]
    if None in expected:
        text, hint = item["msg"].removeprefix("Value error, "), None
    else:
        text = "expected " + " or ".join(dict.fromkeys(expected))
        hint = _hint(expected, value, place, written)
    if item["type"] == "value_error" or isinstance(value, dict | list | tuple | Block):
        return where + text
    is_key = "[key]" in item["loc"] or item["type"] == "invalid_key"
    given = _given(value, None if is_key else written(place, value))
    return f"{where}{text} (given: {given})" + (f"; {hint}" if hint else "")


def _about_a_key(item: dict[str, Any], keys: Iterable[str]) -> str | None:
    """Say which key is missing or wrong; None where a value is."""
    kind, details = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        if (removed := _REMOVED.get(tuple(item["loc"][-2:]))) is not None:
            return removed
        return f"unknown key{suggestion(item['loc'][-1], keys)}; correct its name or remove it"
    if kind == "missing":
        return "this key is missing; add it"
    if kind == "union_tag_not_found":
        return f"the key {details['discriminator']} is missing; add it"
    if kind == "union_tag_invalid":
        key = details["discriminator"].strip("'")
        return f"{key}: expected one of {details['expected_tags']} (given: {details['tag']!r})"
    return None


def _expected(item: dict[str, Any]) -> str | None:
    kind = item["type"]
    if kind == "literal_error":
        return item["ctx"]["expected"]
    if kind == "string_pattern_mismatch":
        return _NAME
    if kind == "invalid_key":
        return "a text as key"
    if kind.endswith(("_type", "_parsing", "_from_float")):
        return _EXPECTED.get(kind.split("_")[0])
    return None


def _given(value: object, text: str | None) -> str:
    """Show a value as it is written and, where that differs, as it was read."""
    read = "null" if value is None else repr(value)
    read = read.lower() if isinstance(value, bool) else read
    if text is None or text == read or isinstance(value, str):
        return read
    return f"{text}, which YAML reads as {read}" if text else "nothing, which YAML reads as null"


def _hint(expected: list[str], value: object, place: tuple, written: Written) -> str | None:
    """Say what to write in place of a value of another kind."""
    text = written(place, value)
    if {"a text", "a text as key", "a path", _NAME} & set(expected):
        if isinstance(value, bool):
            what = f"'{text}'" if text else "it"
            return f"yes, no, on, off, true and false are no texts in YAML: write {what} in quotes"
        if value is not None and not isinstance(value, str | bytes):
            return f"write '{text or value}' in quotes"
    if "an integer" in expected:
        number = _number(value)
        if number is not None and number.is_integer():
            return f"{value!r} is a text in YAML: write {int(number)}"
        if number is not None:
            return f"write {int(number // 1)} or {int(number // 1) + 1}"
    return None


def _number(value: object) -> float | None:
    """Read a number as a person means it; None where it is none, or no finite one."""
    try:
        number = float(value.replace(",", "") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 1e15 else None


def _dotted(place: tuple) -> str:
    return ".".join(str(part).lower() if isinstance(part, bool) else str(part) for part in place)
