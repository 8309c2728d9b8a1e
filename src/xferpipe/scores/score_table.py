"""Compute many scores from one model's cached features: one row each, never a number made up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy
import polars

from xferpipe.config.scores import METHODS
from xferpipe.records.schemas import TABLES
from xferpipe.scores.bootstrap import counts_of, drawn, interval
from xferpipe.scores.inputs import MISSING, Inputs, Undefined, class_numbers, label_vector, matrix
from xferpipe.scores.measure import measured
from xferpipe.scores.registry import Score, arguments_of, draws_of, interval_of, resolve

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
            chosen = wanted is None or name in wanted
            if counts is not None and bootstrap_samples and chosen and any(map(_defined, made)):
                direct = interval_of(name) if name in METHODS else None
                if direct is not None:
                    made[0]["low"], made[0]["high"] = _called(direct, part, confidence=confidence)
                    continue
                draws = draws_of(name) if name in METHODS else None
                if draws is None and wanted is None:
                    continue
                _add_intervals(made, drawn(function, draws, part, counts), confidence)
    return polars.DataFrame(rows, schema=COLUMNS)


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
        # A part that another score had made counts here too: the row says what this score costs.
        for item in ready:
            cost.add(inputs.costs[item])
    return [
        {
            "method": name,
            "variant": _variant(variant, size),
            "value": float(value) if _finite(value) else None,
            "reason": None if _finite(value) else reason or _why_not(value),
            "low": None,
            "high": None,
            "probe_images": len(inputs.labels),
            "seconds": cost.seconds if cost else 0.0,
            "peak_bytes": cost.peak_bytes if cost else 0,
        }
        for variant, value in (values or {"": None}).items()
    ]


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
