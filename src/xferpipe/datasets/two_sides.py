"""Labels of query and gallery, which come from two files or folders, as values of one type.

`0990` of a file that keeps text is 990 of one that guesses numbers, and camera `c1` is camera 1.
Compared as they come, such labels never meet, and figures are of the queries that are left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import polars

#: What stands before the number of a camera, in lower case: `c1`, `cam_1` and 1 are one camera.
_CAMERA_WORDS = frozenset({"c", "cam", "camera"})
_NUMBERED = re.compile(
    r"(?:(?P<word>[A-Za-z]+)[_\- ]?(?P<number>[0-9]{1,18})|(?P<signed>-?[0-9]{1,18}))"
)
#: From this share of queries without a positive, the labels are more likely wrong than the images.
MANY = 0.5
_EXAMPLES = 3


class SameColumnError(ValueError):
    """Two columns of a table have one name, spaces aside."""


@dataclass(frozen=True)
class Sides:
    """One column of both sides, in one type.

    Attributes:
        query: Values of the queries, Int64 or String (q), null where unknown.
        gallery: Values of the gallery (m), of the same type.
        note: What was read as what, one sentence; None where nothing had to be changed.
    """

    query: polars.Series
    gallery: polars.Series
    note: str | None = None


def headers(names: Iterable[str]) -> dict[str, str]:
    """Map the columns of a table to their names without the spaces of `identity, camera`.

    Args:
        names: Names as they stand in the file.
    Returns:
        Name as it stands -> name without spaces around it and without a byte order mark.
    Raises:
        SameColumnError: Two columns have one name then.
    """
    mapped = {name: name.strip().removeprefix("\ufeff").strip() for name in names}
    twice = [name for name, count in Counter(mapped.values()).items() if count > 1]
    if twice:
        raise SameColumnError(
            f"column {twice[0]!r} is there more than once, spaces aside "
            f"({', '.join(map(repr, mapped))}); rename or remove one of both"
        )
    return mapped


def stripped(table: polars.DataFrame) -> polars.DataFrame:
    """Return a table without the spaces around its headers and its texts.

    Raises:
        SameColumnError: Two columns have one name then.
    """
    table = table.rename(headers(table.columns))
    return table.with_columns(polars.col(polars.String).str.strip_chars())


def alike(query: polars.Series, gallery: polars.Series) -> Sides:
    """Bring one column of both sides to one type.

    Whole numbers are numbers however they are written, with zeros in front, as text or as 990.0,
    unless one side has two spellings of one number (`1` beside `01`): then they are names. A word
    in front of every number of one side (`c1` against 1) is taken off, as is any word for a camera
    in column `camera`. All else are names, compared letter by letter without spaces around them.

    Args:
        query: Numbers, names or null (q); its name is the column's.
        gallery: Likewise (m).
    Raises:
        ValueError: A number is not whole, or the type is neither number nor name.
    """
    name = query.name
    plain = [_plain(side, name) for side in (query, gallery)]
    if all(side.dtype == polars.Int64 for side in plain):
        return Sides(*plain)
    read = [_as_numbers(side) for side in plain]
    words = [found[1] if found else None for found in read]
    if not all(read) or not _one_word(*words, name):
        return Sides(*(side.cast(polars.String) for side in plain))
    note = None
    texts = [side.drop_nulls().cast(polars.String) for side in plain]
    numbers = [found[0] for found in read]
    if _read_as_another(texts, numbers):
        examples = [side[0] for side in texts]
        note = (
            f"column {name}: {examples[0]!r} of the queries and {examples[1]!r} of the gallery are "
            f"read as the numbers {numbers[0].drop_nulls()[0]} and {numbers[1].drop_nulls()[0]}"
        )
    return Sides(*numbers, note)


def findings(
    query: polars.DataFrame, gallery: polars.DataFrame, *, junk_rule: str = "same_camera"
) -> list[str]:
    """Say what makes it unlikely that the labels of both sides mean the same things.

    Args:
        query: Columns identity and camera, of one type with those of the gallery: see `alike`.
        gallery: Likewise.
        junk_rule: The rule in use: cameras are of no account to others than "same_camera".
    Returns:
        One sentence for each finding, with counts, examples and what to do.
    """
    texts = []
    cameras = [side["camera"].drop_nulls().unique().sort() for side in (query, gallery)]
    if junk_rule == "same_camera" and all(map(len, cameras)) and not _shared(*cameras):
        texts.append(
            f"no camera is on both sides (queries: {_listed(cameras[0])}; gallery: "
            f"{_listed(cameras[1])}), so the rule same_camera leaves nothing out: are the cameras "
            "of both sides named alike?"
        )
    absent = query.join(gallery, on="identity", how="anti")
    if len(query) and len(absent) >= MANY * len(query):
        texts.append(
            f"{len(absent)} of {len(query)} queries have an identity that the gallery has not "
            f"(queries: {_listed(absent['identity'].unique().sort())}; gallery: "
            f"{_listed(gallery['identity'].drop_nulls().unique().sort())}); the means leave them "
            "out: are the identities of both sides named alike?"
        )
    return texts


def _plain(side: polars.Series, name: str) -> polars.Series:
    """Return Int64, or String without spaces around; empty text and NaN are unknown."""
    kind = side.dtype
    if kind.is_float():
        side = side.fill_nan(None)
        strange = side.filter(side.is_infinite() | (side != side.round()))
        if len(strange):
            raise ValueError(f"column {name!r} holds {strange[0]}; expected whole numbers or names")
        return side.cast(polars.Int64)
    if kind.is_integer():
        try:
            return side.cast(polars.Int64)
        except polars.exceptions.InvalidOperationError:
            return side.cast(polars.String)  # Beyond 64 bits a number is as good as a name.
    if kind == polars.Null:
        return side.cast(polars.Int64)
    if kind in (polars.String, polars.Categorical, polars.Enum, polars.Boolean):
        side = side.cast(polars.String).str.strip_chars()
        return side.set(side == "", None) if (side == "").any() else side
    raise ValueError(f"column {name!r} has type {kind}; expected whole numbers or names")


def _as_numbers(side: polars.Series) -> tuple[polars.Series, str] | None:
    """Return a side as Int64 and the one word before its numbers; None where they are names."""
    if side.dtype == polars.Int64:
        return side, ""
    values = side.drop_nulls().unique().to_list()
    found = {value: _NUMBERED.fullmatch(value) for value in values}
    if not all(found.values()):
        return None
    words = {(match["word"] or "").lower() for match in found.values()}
    numbers = {value: int(match["number"] or match["signed"]) for value, match in found.items()}
    if len(words) > 1 or len(set(numbers.values())) < len(values):
        return None
    whole = side.replace_strict(numbers, default=None, return_dtype=polars.Int64)
    return whole.alias(side.name), next(iter(words), "")


def _one_word(query: str, gallery: str, name: str) -> bool:
    """Tell whether numbers after these words are the same things: `c`, none; but not `a`, `b`."""
    if query == gallery or not query or not gallery:
        return True
    return name == "camera" and {query, gallery} <= _CAMERA_WORDS


def _read_as_another(texts: list[polars.Series], numbers: list[polars.Series]) -> bool:
    """Tell whether values meet as numbers that do not meet as they are written."""
    if not all(map(len, texts)):
        return False
    return _shared(*(side.drop_nulls() for side in numbers)) > _shared(*texts)


def _shared(first: polars.Series, second: polars.Series) -> int:
    return len(set(first.unique().to_list()) & set(second.unique().to_list()))


def _listed(values: polars.Series) -> str:
    shown = ", ".join(map(str, values.head(_EXAMPLES).to_list()))
    rest = len(values) - _EXAMPLES
    return f"{shown} and {rest} more" if rest > 0 else shown
