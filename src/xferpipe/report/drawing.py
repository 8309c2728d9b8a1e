"""Figures: their panels, words and data, one look for all, and their SVG form."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair
import polars
from altair.utils import schemapi

#: Okabe and Ito's colours, which stay apart for the colour-blind; without their yellow, too pale on
#: white, and black, which is kept for references. A violet and a brown, darker than those, follow.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#5B3A8C", "#7A4B2A"),
)
INK, FAINT, ACCENT, PLAIN = "#1b1f24", "#9aa3ad", "#0072B2", "#7f8b97"

#: Vega-Lite release that altair writes and the embedded bundle reads.
VEGA_LITE = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])

_CONFIG: dict[str, Any] = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "domainColor": "#c9d0d8",
        "gridColor": "#e8ecf0",
        "tickColor": "#c9d0d8",
        "labelColor": "#3d4650",
        "titleColor": "#3d4650",
        "titleFontWeight": 500,
        "labelFontSize": 11,
        "titleFontSize": 11.5,
        "labelLimit": 170,
    },
    "legend": {"labelFontSize": 11, "titleFontSize": 11.5, "symbolType": "circle"},
    "range": {"category": list(COLOURS)},
    "title": {"fontSize": 13, "fontWeight": 600, "color": INK, "anchor": "start"},
}


@dataclass(frozen=True)
class Panel:
    """One chart of a figure; its width is set by its place.

    `note` stands under its label; `caution`, which a reader must not miss, stands out there.
    """

    label: str
    chart: altair.LayerChart | altair.Chart
    height: int = 220
    note: str = ""
    caution: str = ""


@dataclass(frozen=True)
class Choice:
    """A menu that sets one Vega parameter in every panel of a figure."""

    label: str
    parameter: str
    options: Sequence[tuple[str, str]]
    default: str


@dataclass(frozen=True)
class Figure:
    """A picture with its words and its data.

    `caption` is one sentence; `alternative` says in words what the picture shows; `missing` says,
    where there are no panels, what would have to run for it to have some. With `highlight`, a click
    on a name of the legend sets the Vega parameter `highlight` in every panel. `summary` is a short
    table that stands open under the picture.
    """

    name: str
    title: str
    caption: str
    data: polars.DataFrame
    panels: tuple[Panel, ...] = ()
    alternative: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    choices: tuple[Choice, ...] = ()
    missing: str = ""
    wide: bool = False
    highlight: bool = False
    summary: polars.DataFrame | None = None


def absent(name: str, title: str, reason: str) -> Figure:
    """Return a figure that cannot be drawn, with what is missing."""
    return Figure(name, title, "", polars.DataFrame(), missing=reason)


def values(data: polars.DataFrame) -> altair.Data:
    """Put rows into a chart: nulls stay null, infinities and NaN become null."""
    numbers = [name for name, kind in data.schema.items() if kind.is_float()]
    finite = data.with_columns(
        polars.when(polars.col(numbers).is_finite()).then(polars.col(numbers))
    )
    # Six digits, since no screen shows more. As text, since altair looks at every value of a list.
    text = finite.with_columns(polars.col(numbers).round_sig_figs(6)).write_json()
    return altair.Data(values=text, format=altair.DataFormat(type="json"))


def palette(names: Iterable[str]) -> dict[str, str]:
    """Give each name a colour, in order; names beyond the palette share a grey."""
    known = list(dict.fromkeys(names))
    return {name: COLOURS[i] if i < len(COLOURS) else PLAIN for i, name in enumerate(known)}


def coloured(field: str, colours: dict[str, str], title: str) -> altair.Color:
    """Colour marks by a field with fixed colours, so that all panels agree."""
    scale = altair.Scale(domain=list(colours), range=list(colours.values()))
    return altair.Color(f"{field}:N", scale=scale, title=title)


def unchecked() -> AbstractContextManager[None]:
    """Leave out Altair's checks of charts, a third of the time of a page; tests draw with them."""
    return schemapi.debug_mode(False)


def specification(panel: Panel, description: str, *, width: int | str = "container") -> dict:
    """Return the Vega-Lite specification of a panel, with the look that all panels share."""
    chart = panel.chart.properties(
        width=width, height=panel.height, description=f"{panel.label}: {description}"
    )
    spec = _with_datasets(chart.to_dict(validate=False))
    config = json.loads(json.dumps(_CONFIG))
    if width == "container":
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        config["legend"]["disable"] = True
    spec["config"] = config
    return spec


def _with_datasets(spec: dict) -> dict:
    """Move the rows of all layers to the top: what several layers share is there once."""
    datasets: dict[str, Any] = {}
    names: dict[str, str] = {}

    def visit(part: dict) -> None:
        data = part.get("data")
        if data and isinstance(data.get("values"), str):
            name = names.setdefault(data["values"], f"rows{len(names)}")
            datasets[name] = json.loads(data["values"])
            part["data"] = {"name": name}
        for key in ("layer", "concat"):
            for inner in part.get(key, ()):
                visit(inner)

    visit(spec)
    spec["datasets"] = {**spec.get("datasets", {}), **datasets}
    return spec


def svg(figure: Figure, *, columns: int = 3, width: int = 270) -> str:
    """Draw a whole figure as one SVG, its panels side by side.

    A figure without panels becomes a picture of the sentence that says what is missing, so that a
    workflow which asks for the file finds it.
    """
    import vl_convert

    if not figure.panels:
        words = altair.Chart(altair.Data(values=[{}])).mark_text(color=INK, fontSize=13)
        chart = words.encode(text=altair.value(f"{figure.title}: {figure.missing}"))
        chart = chart.properties(width=720, height=60, background="white")
        spec = chart.to_dict(validate=False)
        return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    if figure.wide:
        columns, width = 1, 620
    charts = []
    for panel in figure.panels:
        title = altair.Title(panel.label, subtitle=textwrap.wrap(panel.caution, width // 6))
        charts.append(panel.chart.properties(width=width, height=panel.height, title=title))
    spec = _with_datasets(altair.concat(*charts, columns=columns).to_dict(validate=False))
    spec["config"] = _CONFIG | {"background": "white"}
    spec["description"] = figure.alternative
    return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)


@lru_cache(maxsize=1)
def vega_bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that asks for nothing from outside."""
    import vl_convert

    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)
