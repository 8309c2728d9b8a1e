"""What a model may cost in use: which models of a zoo are within limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import polars

#: Columns of table `zoo` that limits are on: name of the option, what one unit of it is in the
#: column, and its unit in words.
_LIMITS = {
    "milliseconds": ("--max-ms", 1.0, "ms an image"),
    "gmacs": ("--max-gmacs", 1.0, "GMACs"),
    "parameters": ("--max-params", 1e6, "million parameters"),
}


class Within(NamedTuple):
    """Which models are within limits.

    Attributes:
        models: Those that cost no more, and those whose cost is unknown, in the zoo's order.
        left_out: Those that cost more.
        unknown: Those of `models` with an unknown cost.
        said: The same in sentences; empty without limits.
    """

    models: list[str]
    left_out: list[str]
    unknown: list[str]
    said: list[str]


def within(zoo: polars.DataFrame, limits: Mapping[str, float | None]) -> Within:
    """Return the models that cost no more than some limits.

    Args:
        zoo: Table `zoo`.
        limits: Most of `milliseconds` (ms), `gmacs` (10^9) and `parameters` (10^6); None: any.
    Raises:
        ValueError: No model is within the limits; says how far the least of each is.
    """
    asked = {name: limit for name, limit in limits.items() if limit is not None}
    rows = zoo.select("model", *asked).rows(named=True)
    if not asked or not rows:
        return Within([row["model"] for row in rows], [], [], [])
    unit = {name: _LIMITS[name][1] for name in asked}
    left_out = [
        row["model"]
        for row in rows
        if any(row[name] is not None and row[name] > asked[name] * unit[name] for name in asked)
    ]
    kept = [row for row in rows if row["model"] not in left_out]
    unknown = [row["model"] for row in kept if None in row.values()]
    words = " and ".join(f"{limit:g} {_LIMITS[name][2]}" for name, limit in asked.items())
    if not kept:
        known = {name: [row[name] for row in rows if row[name] is not None] for name in asked}
        least = ", ".join(
            f"{_LIMITS[name][0]} {min(values) / unit[name]:.3g}"
            for name, values in known.items()
            if values
        )
        raise ValueError(
            f"no model of {len(rows)} is within {words}; the least that they cost is {least}: "
            "raise a limit, or add smaller models to `zoo`"
        )
    said = [f"Left out: {len(left_out)} of {len(rows)} models, which cost more than {words}."]
    if len(unknown) == len(rows):
        said = [f"No cost is known, so {words} leaves no model out: run snakemake to measure it."]
    elif unknown:
        said.append(f"Of unknown cost, and not left out: {', '.join(unknown)}.")
    return Within([row["model"] for row in kept], left_out, unknown, said)
