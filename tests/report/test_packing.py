"""Charts and tables in their packed form."""

from __future__ import annotations

import base64
import gzip

import polars

from xferpipe.report.drawing import values
from xferpipe.report.packing import csv_link, packed

LOOK = {"font": "serif"}


def chart(field: str, rows: list[dict]) -> dict:
    encoding = {"y": {"field": "model"}, "x": {"field": field}}
    return {"config": LOOK, "encoding": encoding, "datasets": {"rows0": rows}}


def test_packed_rows_keep_the_columns_that_the_chart_names():
    rows = [
        {"model": model, "seed": seed, "value": value, "place": "t"}
        for model, seed, value in (("a", 0, 0.5), ("b", 0, None), ("a", 1, 0.25), ("a", 2, 1.0))
    ]
    page = packed({"one": chart("value", rows), "two": chart("value", rows)})
    assert page["shared"]["config"] == LOOK
    assert page["charts"]["one"] == page["charts"]["two"] == {"datasets": {"rows0": 0}}
    model = {"of": ["a", "b"], "at": [0, 1, 0, 0]}
    assert page["tables"] == [{"model": model, "value": [0.5, None, 0.25, 1.0]}]


def test_packed_charts_of_different_rows_have_a_table_each():
    page = packed({"one": chart("value", [{"value": 1}]), "two": chart("seed", [{"seed": 2}])})
    assert page["charts"]["two"]["encoding"]["x"] == {"field": "seed"}
    assert page["tables"] == [{"value": [1]}, {"seed": [2]}]
    assert [page["charts"][name]["datasets"]["rows0"] for name in ("one", "two")] == [0, 1]


def test_packed_field_of_an_expression_or_with_a_space_is_kept():
    rows = [{"mean Spearman": 1, "kind": "loss", "other": 3}]
    spec = {"transform": "datum.kind === chosen", "x": "mean Spearman", "datasets": {"d": rows}}
    assert packed({"one": spec})["tables"] == [{"mean Spearman": [1], "kind": ["loss"]}]


def test_packed_without_charts_is_empty():
    assert packed({}) == {"shared": {}, "tables": [], "charts": {}}


def test_csv_link_keeps_every_digit():
    data = polars.DataFrame({"model": ["a"], "value": [0.1234567890123456]})
    content = base64.b64decode(csv_link(data).partition("base64,")[2])
    assert gzip.decompress(content) == b"model,value\na,0.1234567890123456\n"


def test_chart_values_have_six_significant_digits():
    data = polars.DataFrame({"value": [1.23456789e-7, 12345.6789, float("inf")]})
    assert values(data).values == '[{"value":1.23457e-7},{"value":12345.7},{"value":null}]'
