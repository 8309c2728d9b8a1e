"""The page: sections, figures and tables put into one self-contained HTML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import polars
from markupsafe import Markup

from xferpipe.records import TABLES
from xferpipe.report.answer_cards import cards
from xferpipe.report.drawing import Figure, specification, vega_bundle
from xferpipe.report.evidence import Evidence
from xferpipe.report.leaderboard import leaderboards
from xferpipe.report.mistakes import MATRIX_CLASSES, mistakes
from xferpipe.report.packing import csv_link, packed
from xferpipe.report.sections import SECTIONS, TOLD_OTHERWISE, whole_tables
from xferpipe.report.use_words import uses
from xferpipe.report.your_data import your_data

#: Rows of a table that the page shows; its CSV always holds all of them.
ROWS_SHOWN = 400

_HERE = Path(__file__).parent


def html(evidence: Evidence) -> str:
    """Return the whole page.

    Args:
        evidence: The study's tables and its targets' images.
    Returns:
        HTML that needs no network: styles, scripts, data and pictures are in it, and its own
        content policy forbids the browser to fetch anything.
    """
    wrong = mistakes(evidence)
    told = set(TOLD_OTHERWISE)
    many = any(len(one.classes) > MATRIX_CLASSES for one in wrong)
    specifications: dict[str, Any] = {}
    sections, absent = [], []
    for section in SECTIONS:
        figures = section.figures(evidence)
        shown = [figure for figure in figures if figure.panels and figure.name not in told]
        absent += [figure for figure in figures if not figure.panels and figure.name not in told]
        if many and section.name == "targets":
            per_class = [_drawn(f, specifications) for f in figures if f.name == "classes"]
        if shown:
            drawn = [_drawn(figure, specifications) for figure in shown]
            sections.append({"section": section, "figures": drawn})
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        study=evidence.job.study,
        answers=cards(evidence),
        boards=leaderboards(evidence),
        data=[(one, _table(f"classes_of_{one.target}", one.counts)) for one in your_data(evidence)],
        mistakes=wrong,
        per_class=per_class if many else [],
        uses=uses(evidence),
        sections=sections,
        absent=absent,
        tables=[_table(name, data) for name, data in whole_tables(evidence)],
        missing=evidence.missing,
        facts=facts(evidence),
        style=Markup((_HERE / "page.css").read_text()),
        script=Markup((_HERE / "page.js").read_text()),
        vega=Markup(vega_bundle() if specifications else ""),
        specifications=_json(packed(specifications)),
    )


def _drawn(figure: Figure, specifications: dict[str, Any]) -> dict[str, Any]:
    """Put a figure's panels among the specifications, and return what the template shows of it."""
    panels = [(f"{figure.name}-{i}", panel) for i, panel in enumerate(figure.panels)]
    for name, panel in panels:
        specifications[name] = specification(panel, figure.alternative)
    return {
        "figure": figure,
        "panels": panels,
        "table": _table(figure.name, figure.data),
        "summary": None
        if figure.summary is None
        else _table(f"{figure.name}_summary", figure.summary),
    }


def facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Return what the study consists of and what it ran on, as pairs of name and value."""
    finetunes, zoo = evidence["finetunes"], evidence["zoo"]
    pairs = [
        ("models", str(zoo.height or evidence["scores"]["model"].n_unique())),
        ("targets", str(len({target for target, _ in evidence.places()}))),
        ("fine-tunes", _counted(finetunes)),
        ("scores", str(evidence["scores"]["method"].n_unique())),
    ]
    for name, column in (("device", "device"), ("torch", "torch_version")):
        if seen := finetunes[column].drop_nulls().unique(maintain_order=True).to_list():
            pairs.append((name, ", ".join(seen)))
    if threads := sorted(finetunes["compute_threads"].drop_nulls().unique().to_list()):
        pairs.append(("threads per run", ", ".join(map(str, threads))))
    names = {"xferpipe.version": "xferpipe", "xferpipe.key": "key of the tables"}
    pairs += [(names[key], value[:12]) for key, value in evidence.provenance.items()]
    return pairs


def _counted(finetunes: polars.DataFrame) -> str:
    diverged = finetunes.filter(polars.col("status") == "diverged").height
    return f"{finetunes.height}, {diverged} diverged" if diverged else str(finetunes.height)


def _table(name: str, data: polars.DataFrame) -> dict[str, Any]:
    data = data.drop(name for name, kind in data.schema.items() if kind == polars.Binary)
    units = {column.name: column for column in TABLES.get(name, ())}
    columns = []
    for column, kind in data.schema.items():
        known = units.get(column)
        help_ = f"{known.meaning} {f'[{known.unit}]' if known.unit else ''}" if known else ""
        columns.append({"name": column, "number": kind.is_numeric(), "help": help_.strip()})
    numbers = [column["number"] for column in columns]
    rows = [
        [
            (_cell(value), _sort_key(value) if number else None)
            for value, number in zip(row, numbers, strict=True)
        ]
        for row in data.head(ROWS_SHOWN).rows()
    ]
    return {
        "name": name,
        "columns": columns,
        "rows": rows,
        "total": data.height,
        "csv": csv_link(data),
    }


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int):
        return str(value)
    return str(value)


def _sort_key(value: object) -> str:
    """Return the number that a cell sorts by, where it is not the text that the cell shows."""
    if value is None or isinstance(value, int):
        return ""
    key = f"{value:.7g}"
    return "" if key == _cell(value) else key


def _json(value: Any) -> Markup:
    """Write JSON that can stand inside a script element, whatever the texts in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
