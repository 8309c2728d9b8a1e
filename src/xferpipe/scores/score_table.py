"""Compute many scores from one model's cached features: one row each, never a number made up."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy
import polars

from xferpipe.config.scores import METHODS, PRECISION
from xferpipe.records.schemas import TABLES
from xferpipe.scores.bootstrap import counts_of, drawn, interval
from xferpipe.scores.inputs import (
    MISSING,
    Inputs,
    Undefined,
    class_numbers,
    label_vector,
    matrix,
    probabilities,
)
from xferpipe.scores.measure import measured
from xferpipe.scores.registry import Score, arguments_of, draws_of, interval_of, resolve

_LOG = logging.getLogger(__name__)

#: The highest value of scores that separable features reach: (method, variant) -> value.
_MOST = {
    ("n_leep", ""): 0.0,
    ("sfda", ""): 1.0,
    ("etran", "part=discriminant"): 1.0,
}

#: Columns of `compute`'s table: those of table `scores` that do not name the job.
COLUMNS = {
    column.name: column.type
    for column in TABLES["scores"]
    if column.name not in ("target", "shots", "model")
}


def compute(
    features: Any,
    labels: Any,
    methods: Iterable[str] | None = None,
    source_probabilities: Any = None,
    *,
    bootstrap_samples: int = 0,
    bootstrap_methods: Iterable[str] | None = None,
    confidence: float = 0.95,
    probe_sizes: Iterable[int] = (),
    progress: Callable[[str, int, int], None] | None = None,
    **further: Any,
) -> polars.DataFrame:
    """Compute scores of one model on one target.

    Args:
        features: Features before the classifier, float (n, d).
        labels: Class labels: integers from 0 on, or names (n).
        methods: Scores by name; unset: all that xferpipe has.
        source_probabilities: Softmax of the source head, fractions (n, z), for LEEP and its kin.
        bootstrap_samples: Draws over probe images behind `low` and `high`; 0: no intervals.
        bootstrap_methods: Methods that get an interval; unset: those whose draws are cheap.
        confidence: Level of the intervals.
        probe_sizes: Adds rows `images_per_class=<k>` from the first k images of each class.
        progress: Called with what is being done, scores done and scores in all.
        further: Other fields of `scores.inputs.Inputs`, by name.
    Returns:
        One row per method and variant: method, variant, value, reason, low, high, probe_images,
        seconds (s), peak_bytes (B). `value` is null, with a reason, where a score is undefined.
    Raises:
        ValueError: Shapes, types or ranges are wrong, or a method is unknown.
    """
    names = tuple(METHODS) if methods is None else tuple(methods)
    functions = {name: resolve(name) for name in names}
    inputs = Inputs(
        features=numpy.asarray(features),
        labels=class_numbers(labels),
        source_probabilities=_optional(source_probabilities),
        **further,
    )
    _check(inputs)
    wanted = None if bootstrap_methods is None else set(bootstrap_methods)
    rows: list[dict[str, Any]] = []
    probes = list(_probes(inputs, probe_sizes))
    done = 0
    for size, part in probes:
        counts = counts_of(part.labels, bootstrap_samples, part.seed) if size is None else None
        for name, function in functions.items():
            if progress is not None:
                progress("scoring", done, len(probes) * len(functions))
            done += 1
            made = _rows(name, function, part, size)
            rows.extend(made)
            if counts is None or not bootstrap_samples or not any(map(_defined, made)):
                continue
            if wanted is None or name in wanted:
                try:
                    _interval(made, name, function, part, counts, confidence, always=bool(wanted))
                except Exception as error:
                    # A value without an interval is worth more than neither.
                    _LOG.warning("%s has no interval: %s", name, _failure(error))
    return polars.DataFrame(rows, schema=COLUMNS)


def _interval(
    rows: list[dict[str, Any]],
    name: str,
    function: Score,
    inputs: Inputs,
    counts: numpy.ndarray,
    confidence: float,
    *,
    always: bool,
) -> None:
    """Add the ends of a score's intervals to its rows; `always`: by computing it again and again,
    too.
    """
    direct = interval_of(name) if name in METHODS else None
    if direct is not None:
        rows[0]["low"], rows[0]["high"] = _called(direct, inputs, confidence=confidence)
        return
    draws = draws_of(name) if name in METHODS else None
    if draws is not None or always:
        _add_intervals(rows, drawn(function, draws, inputs, counts), confidence)


def _called(function: Score, inputs: Inputs, **further: Any) -> Any:
    """Call a function with the inputs that its parameters name, and with `further`."""
    needed, optional = arguments_of(function)
    names = [name for name in needed + optional if name not in further]
    return function(**{name: getattr(inputs, name) for name in names}, **further)


def _optional(values: Any) -> numpy.ndarray | None:
    return None if values is None else numpy.asarray(values)


def _check(inputs: Inputs) -> None:
    """Find wrong arguments once, even where every score asked for would not read them."""
    try:
        label_vector(inputs.labels, len(matrix(inputs.features, "features")))
    except Undefined:
        return
    for name in ("source_probabilities", "reference_features"):
        values = getattr(inputs, name)
        if values is not None and len(values) != len(inputs.labels):
            raise ValueError(
                f"{name} has {len(values)} rows but there are {len(inputs.labels)} labels; "
                "give one row an image"
            )
    if inputs.source_probabilities is not None:
        with suppress(Undefined):
            probabilities(inputs.source_probabilities, inputs.labels)


def _probes(inputs: Inputs, sizes: Iterable[int]) -> Iterator[tuple[int | None, Inputs]]:
    """Yield the whole probe, then its first so many images of each class where it has as many."""
    yield None, inputs
    for size in sizes:
        seen: dict[int, int] = {}
        rows = []
        for row, label in enumerate(inputs.labels.tolist()):
            seen[label] = seen.get(label, 0) + 1
            if seen[label] <= size:
                rows.append(row)
        if max(seen.values(), default=0) >= size:
            yield size, inputs.take(numpy.array(rows))


def _rows(name: str, function: Score, inputs: Inputs, size: int | None) -> list[dict[str, Any]]:
    """Run one score; a reason takes the place of a value that it does not have."""
    needed, optional = arguments_of(function)
    missing = [item for item in needed if getattr(inputs, item) is None]
    reason, values, cost = None, {}, None
    if missing:
        reason = MISSING[missing[0]]
    else:
        ready = inputs.costs.keys() & set(needed + optional)
        with measured() as cost:
            try:
                value = _called(function, inputs)
                values = value if isinstance(value, Mapping) else {"": value}
            except Undefined as undefined:
                reason = str(undefined)
            except Exception as error:
                # What the other scores say is worth having without this one.
                reason = _failure(error)
                _LOG.warning("%s: %s", name, reason)
        # A part that another score had made counts here too: the row says what this score costs.
        for item in ready:
            cost.add(inputs.costs[item])
    return [
        {
            "method": name,
            "variant": _variant(variant, size),
            "value": float(value) if _finite(value) else None,
            "reason": _limits(name, variant, value)
            if _finite(value)
            else reason or _why_not(value),
            "low": None,
            "high": None,
            "probe_images": len(inputs.labels),
            "seconds": cost.seconds if cost else 0.0,
            "peak_bytes": cost.peak_bytes if cost else 0,
        }
        for variant, value in (values or {"": None}).items()
    ]


def _failure(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"the memory does not suffice: {error}".removesuffix(": ")
    return f"it failed with {type(error).__name__}: {error}"


def _limits(name: str, variant: str, value: float) -> str | None:
    """Say of a value that is as high as it can be what it does not tell."""
    most = _MOST.get((name, variant))
    if most is None or value < most - PRECISION:
        return None
    return f"saturated: {most:g} is the most there is, and models that reach it are not told apart"


def _why_not(value: Any) -> str:
    return str(value) if isinstance(value, Undefined) else f"the score is {value}"


def _variant(variant: str, size: int | None) -> str:
    parts = [variant] if variant else []
    return ",".join(parts + ([] if size is None else [f"images_per_class={size}"]))


def _finite(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)


def _defined(row: dict[str, Any]) -> bool:
    return row["value"] is not None


def _add_intervals(
    rows: list[dict[str, Any]],
    values: Mapping[str, numpy.ndarray],
    confidence: float,
) -> None:
    for row in rows:
        if row["variant"] in values and _defined(row):
            row["low"], row["high"] = interval(row["value"], values[row["variant"]], confidence)
