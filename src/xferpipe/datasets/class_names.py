"""Names of classes and identities as people write them in tables.

A class in two writings (`dog` and `dog ` with a space, `01` and `1`) is refused: nobody can tell
whether it is one class or two. What may be meant, and mostly is not, is told by `remarks`: numbers
that look like quantities, several labels in one cell, names that differ in letter case alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

import polars

from xferpipe.datasets.checks import listed

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
#: Signs between several labels of one cell, and signs that names of one class often have, too.
_SEVERAL, _PERHAPS_SEVERAL = (";", "|"), (",", "/", "+", "&")
_LIST = re.compile(r"\s*[\[({].*[,;].*[\])}]\s*", re.DOTALL)
#: What programs write where there is no value.
_NO_VALUE = {"na", "n/a", "#n/a", "<na>", "nan", "null", "nil", "?", "-"}
#: Whole numbers of fewer classes are grades or codes; so are those that count from 0 or 1.
_MANY_NUMBERS = 10
#: Classes that count from 0 or 1 look like quantities where most have fewer images.
_FEW_OF_EACH = 5


class ClassNameError(ValueError):
    """Names of classes say two things; the message says which, and not where they stand."""


def class_texts(values: polars.Series, *, fractions: bool = False) -> polars.Series:
    """Return names or numbers of classes as text, one writing for each.

    Args:
        values: Of any type; whole numbers may be floating-point ones, and NaN is a missing one.
        fractions: Take numbers that are not whole, as names.
    Returns:
        Text of the same length and name, without spaces around it; null where nothing stands.
    Raises:
        ClassNameError: Lists, or other values that are neither names nor numbers; numbers that are
            not whole; one name in two writings.
    """
    kind = values.dtype
    if kind.is_float() or kind.is_decimal():
        values = values.cast(polars.Float64).fill_nan(None)
        if values.is_infinite().any():
            raise ClassNameError(_not_whole(values.name, "infinity"))
        values = _whole_where_all(values)
    try:
        if kind.is_nested() or kind in (polars.Binary, polars.Object):
            raise polars.exceptions.InvalidOperationError
        raw = values.cast(polars.String)
    except polars.exceptions.PolarsError:
        raise ClassNameError(
            f"{values.name} has type {kind}; expected one whole number or name a row"
        ) from None
    if kind.is_integer() or kind == polars.Boolean or raw.count() == 0:
        return raw
    written = raw.drop_nulls().unique(maintain_order=True).to_list()
    names = {text: " ".join(unicodedata.normalize("NFC", text).split()) for text in written}
    numbers = {name: Decimal(name) for name in names.values() if _NUMBER.fullmatch(name)}
    rest = {name for name in names.values() if name and name not in numbers}
    strange = {name.lower().lstrip("+-") for name in rest}
    if strange and strange <= {"nan", "inf", "infinity"}:
        # As numerical programs write them.
        if strange != {"nan"}:
            raise ClassNameError(_not_whole(values.name, "infinity"))
        names = {text: name if name in numbers else "" for text, name in names.items()}
        rest = set()
    _refuse_two_writings(raw, names, numbers)
    if not fractions and not rest:
        for text, name in names.items():
            if name and numbers[name] != numbers[name].to_integral_value():
                raise ClassNameError(_not_whole(values.name, text))
    for text, name in names.items():
        if name in numbers and re.fullmatch(r"-?\d+\.0*", name):
            names[text] = name.partition(".")[0]
    return raw.replace_strict(names, return_dtype=polars.String).replace({"": None})


def _whole_where_all(values: polars.Series) -> polars.Series:
    """Return floating-point numbers as integers where all of them are."""
    if values.filter(values != values.round()).is_empty():
        # Beyond 64 bits a floating-point number is no name of anything.
        return values.cast(polars.Int64, strict=False)
    return values


def _not_whole(column: str, value: object) -> str:
    return (
        f"{column} holds {value}; expected classes: whole numbers or names. Put quantities, such "
        "as ages, into a few ranges first, such as 20-29; write names that look like numbers so "
        "that they do not, as v1.5"
    )


def _refuse_two_writings(
    raw: polars.Series, names: Mapping[str, str], numbers: Mapping[str, Decimal]
) -> None:
    """Refuse texts that differ in spaces, or in how a number is written, alone."""
    spaced, valued = defaultdict(list), defaultdict(list)
    for text, name in names.items():
        if name:
            spaced[name].append(text)
    for name, value in numbers.items():
        valued[value].append(spaced.get(name, [name])[0])
    for groups, differ in (
        (spaced, "differ in spaces alone, or in how a letter is coded: write them alike"),
        (
            valued,
            "are one number: if they are one class, write them alike; if they are two, give them "
            "names, as a01 and a1",
        ),
    ):
        pairs = sorted(sorted(texts) for texts in groups.values() if len(texts) > 1)
        if pairs:
            told = " and ".join(f"{text!r} ({(raw == text).sum()} rows)" for text in pairs[0])
            more = f" ({len(pairs)} such names)" if len(pairs) > 1 else ""
            raise ClassNameError(f"{raw.name} {told}{more} {differ}")


def refuse_several(texts: polars.Series) -> None:
    """Refuse cells that hold several labels: classification learns one class an image.

    Args:
        texts: As `class_texts` returns them.
    Raises:
        ClassNameError: Lists, or names with `;` or `|` whose parts are labels of other rows, too.
    """
    names = sorted(texts.drop_nulls().unique().to_list())
    found = next((name for name in names if _LIST.fullmatch(name)), None)
    reason = "is a list"
    for sign in _SEVERAL if found is None else ():
        places = defaultdict(set)
        for name in names:
            for place, part in enumerate(_parts(name, sign)):
                places[part].add(place if sign in name else None)
        # A part at two places is a label; one that always stands first may be a family of classes.
        shared = {part for part, where in places.items() if len(where) > 1}
        found = next(
            (name for name in names if sign in name and shared & set(_parts(name, sign))), None
        )
        if found is not None:
            part = min(shared & set(_parts(found, sign)))
            reason = f"names several classes, for {part!r} stands in other rows, too"
            break
    if found is not None:
        raise ClassNameError(
            f"{texts.name} {found!r} ({(texts == found).sum()} rows) {reason}: xferpipe learns one "
            "class an image. Keep one label in each row, or make a table for each label with yes "
            "and no; where it is the name of one class, write it without that sign"
        )


def _parts(name: str, sign: str) -> list[str]:
    return [part.strip() for part in name.split(sign) if part.strip()]


def is_whole(name: str) -> bool:
    """Tell whether a name is a whole number in its one writing: 1, and neither 01 nor 1.0."""
    return _WHOLE.fullmatch(name) is not None


def numbers_or_names(texts: polars.Series) -> polars.Series:
    """Return int64 where all texts are whole numbers in their one writing, else the texts."""
    if texts.dtype != polars.String or not all(map(is_whole, texts.drop_nulls().unique())):
        return texts
    numbers = texts.cast(polars.Int64, strict=False)
    return numbers if numbers.null_count() == texts.null_count() else texts


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names: by value where all are numbers, else by letter."""
    names = list(names)
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (Decimal(name), name))
    return sorted(names)


def remarks(counts: Mapping[str, int]) -> list[str]:
    """Say what is odd about the names of classes that can be used.

    Args:
        counts: Images of each class, by its name.
    Returns:
        Sentences, each with names, counts, and what to do.
    """
    said = (_quantities(counts), _several(counts), _letter_case(counts), _no_value(counts))
    return [text for text in said if text is not None]


def _quantities(counts: Mapping[str, int]) -> str | None:
    """Find numbers that look like quantities, of which a classifier sees no order."""
    if len(counts) < _MANY_NUMBERS or not all(map(is_whole, counts)):
        return None
    values = sorted(map(Decimal, counts))
    from_start = values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1
    if from_start and sorted(counts.values())[len(counts) // 2] >= _FEW_OF_EACH:
        return None
    return (
        f"its {len(counts)} classes are whole numbers from {values[0]} to {values[-1]}: if they "
        "are quantities, such as ages, a classifier takes no two of them for near each other; put "
        "them into a few ranges, such as 20-29. If they are names, all is well"
    )


def _several(counts: Mapping[str, int]) -> str | None:
    """Find names that look like several labels of one image."""
    odd = [
        name
        for name in counts
        if any(sign in name for sign in _SEVERAL)
        or any(
            len(parts := _parts(name, sign)) > 1 and all(part in counts for part in parts)
            for sign in _PERHAPS_SEVERAL
        )
    ]
    if not odd:
        return None
    named = listed(f"{name} ({counts[name]})" for name in sorted(odd))
    return (
        f"classes that look like several labels of one image: {named}; each is a class of its own "
        "here, and shares nothing with the others: keep one label an image if they are several"
    )


def _letter_case(counts: Mapping[str, int]) -> str | None:
    """Find names that differ in letter case alone."""
    groups = defaultdict(list)
    for name in sorted(counts):
        groups[name.casefold()].append(f"{name} ({counts[name]})")
    pairs = [" and ".join(names) for names in groups.values() if len(names) > 1]
    if not pairs:
        return None
    return (
        f"classes that differ in upper and lower case alone: {listed(pairs)}; each is a class of "
        "its own: write them alike if they are one"
    )


def _no_value(counts: Mapping[str, int]) -> str | None:
    """Find names that programs write where there is no value."""
    odd = [f"{name} ({counts[name]})" for name in sorted(counts) if name.lower() in _NO_VALUE]
    if not odd:
        return None
    return (
        f"classes whose name may mean that there is no label: {listed(odd)}; leave these images "
        "out if it does"
    )
