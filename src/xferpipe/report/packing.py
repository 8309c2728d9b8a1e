"""What makes the page small: rows held once and by column, and CSV files compressed."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import polars


def packed(specifications: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Pack the specifications of all charts; `page.js` takes them apart again.

    Args:
        specifications: Vega-Lite by chart, each with its rows under `datasets`.
    Returns:
        `shared`, the keys that all charts have alike; `tables`, rows as columns, of which each
        table is there once and without the columns that its charts do not name; `charts`, whose
        `datasets` name tables.
    """
    first = next(iter(specifications.values()), {})
    shared = {
        key: value
        for key, value in first.items()
        if key != "datasets" and all(spec.get(key) == value for spec in specifications.values())
    }
    tables: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    charts = {}
    for name, spec in specifications.items():
        drawn = {key: value for key, value in spec.items() if key != "datasets"}
        words = set(re.findall(r"\w+", json.dumps(drawn)))
        datasets = {}
        for dataset, rows in spec["datasets"].items():
            columns = _columns(rows, words)
            number = numbers.setdefault(json.dumps(columns), len(tables))
            if number == len(tables):
                tables.append(columns)
            datasets[dataset] = number
        own = {key: value for key, value in drawn.items() if key not in shared}
        charts[name] = own | {"datasets": datasets}
    return {"shared": shared, "tables": tables, "charts": charts}


def _columns(rows: list[dict[str, Any]], words: set[str]) -> dict[str, Any]:
    """Turn rows into columns; texts that repeat become places in a list of the different ones."""
    names = list(rows[0]) if rows else []
    # A chart may name a field in an expression, so every word of it counts as a name.
    used = [name for name in names if words.issuperset(re.findall(r"\w+", name))]
    columns: dict[str, Any] = {}
    for name in used or names[:1]:
        values = [row[name] for row in rows]
        places = {value: i for i, value in enumerate(dict.fromkeys(values))}
        repeats = 2 * len(places) <= len(values)
        if repeats and all(isinstance(value, str) for value in places):
            columns[name] = {"of": list(places), "at": [places[value] for value in values]}
        else:
            columns[name] = values
    return columns


def csv_link(data: polars.DataFrame) -> str:
    """Return a data URI of the rows as compressed CSV, every digit kept."""
    buffer = io.BytesIO()
    data.write_csv(buffer)
    content = gzip.compress(buffer.getvalue(), mtime=0)
    return "data:application/gzip;base64," + base64.b64encode(content).decode()
