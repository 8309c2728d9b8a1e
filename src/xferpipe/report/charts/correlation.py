"""Which images a model's features hold alike, before, during and after fine-tuning."""

from __future__ import annotations

import base64
import io
import json

import altair
import numpy
import polars

from xferpipe.report.charts.common import listed
from xferpipe.report.drawing import COLOURS, INK, Figure, Panel, absent, values
from xferpipe.report.evidence import Evidence

TITLE = "Feature correlation before, during and after fine-tuning"

#: Standard deviations from the mean at which the colours end.
_END = 2.5
_LOW, _MIDDLE, _HIGH = COLOURS[0], "#f7f7f5", COLOURS[1]
#: With more classes than this, names along the edge could not be read.
_NAMES_SHOWN = 12

_RUN = ["target", "shots", "model", "recipe", "seed"]
_MOMENT = [*_RUN, "moment", "epoch", "lfc"]
_WORDS = {
    "before": "before fine-tuning",
    "during": "after epoch {}",
    "after": "after fine-tuning (epoch {})",
}


def figures(evidence: Evidence) -> list[Figure]:
    """Return the one figure of this module."""
    return [_correlation(evidence)]


def _correlation(evidence: Evidence) -> Figure:
    table = evidence["feature_correlation"].filter(polars.col("product").is_finite())
    if table.is_empty():
        return absent(
            "feature_correlation",
            TITLE,
            "no fine-tune took features on the way; name some in report.feature_correlation",
        )
    runs = table.select(_RUN).unique(maintain_order=True)
    several = runs.height > 1
    panels, rows = [], []
    for part in table.partition_by(_MOMENT, maintain_order=True):
        moment = part.row(0, named=True)
        blocks = _blocks(part)
        panels.append(_panel(evidence, moment, part, blocks, several=several))
        same = blocks["row_class"] == blocks["column_class"]
        rows.append(
            {name: moment[name] for name in _MOMENT}
            | {"images": int(part["row"].max()) + 1}
            | {"within_deviations": _mean(blocks.filter(same))}
            | {"between_deviations": _mean(blocks.filter(~same))}
        )
    summary = polars.DataFrame(rows)
    if not several:
        summary = summary.drop(_RUN)
    first = runs.row(0, named=True)
    what = f"fine-tuning {first['model']} on {first['target']}"
    if several:
        what = f"{runs.height} fine-tunes"
    scores = listed([_lfc(row["lfc"]) for row in rows], most=8)
    return Figure(
        name="feature_correlation",
        title=TITLE,
        caption=f"Inner products of the features of every two probe images, sorted by class, "
        f"before, during and after {what}: LFC {scores}.",
        alternative="Heat maps of images against images with lines between classes; blocks along "
        f"the diagonal are images of one class, and LFC says how clearly they stand out: {scores}",
        data=table.select(
            *(_RUN if several else ()),
            "moment",
            "row",
            "column",
            "row_class",
            "column_class",
            polars.col("product").round_sig_figs(5),
        ),
        panels=tuple(panels),
        legend=(
            (f"{_END:g} standard deviations below the matrix's mean, or more", _LOW),
            ("mean", "#d8d8d4"),
            (f"{_END:g} above, or more", _HIGH),
        ),
        summary=summary,
    )


def _lfc(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _mean(blocks: polars.DataFrame) -> float | None:
    """Average block means over the pairs of images behind them."""
    pairs = blocks["pairs"].sum()
    total = (blocks["deviations"] * blocks["pairs"]).sum()
    return round(float(total / pairs), 4) + 0.0 if pairs else None  # + 0.0: no minus zero


def _matrix(part: polars.DataFrame) -> numpy.ndarray:
    """Return the whole matrix in standard deviations from its mean, which is what LFC sees."""
    row, column = part["row"].to_numpy(), part["column"].to_numpy()
    size = int(row.max()) + 1
    matrix = numpy.zeros((size, size))
    matrix[row, column] = matrix[column, row] = part["product"].to_numpy()
    spread = matrix.std()
    return (matrix - matrix.mean()) / (spread if spread > 0 else 1.0)


def _blocks(part: polars.DataFrame) -> polars.DataFrame:
    """Return one row for each pair of classes: its corners and the mean of its entries.

    Returns:
        Columns row_class, column_class, top, bottom, left, right (images), deviations (mean, in
        standard deviations from the matrix's mean) and pairs (count).
    """
    matrix = _matrix(part)
    diagonal = part.filter(polars.col("row") == polars.col("column")).sort("row")
    names = diagonal["row_class"].to_list()
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    ends = [*starts[1:], len(names)]
    rows = [
        {"row_class": names[top], "column_class": names[left]}
        | {"top": top, "bottom": bottom, "left": left, "right": right}
        | {"deviations": float(matrix[top:bottom, left:right].mean())}
        | {"pairs": (bottom - top) * (right - left)}
        for top, bottom in zip(starts, ends, strict=True)
        for left, right in zip(starts, ends, strict=True)
    ]
    return polars.DataFrame(rows)


def _panel(
    evidence: Evidence,
    moment: dict,
    part: polars.DataFrame,
    blocks: polars.DataFrame,
    *,
    several: bool,
) -> Panel:
    size = int(part["row"].max()) + 1
    edge = altair.Scale(domain=[0, size], nice=False, zero=False)
    down = altair.Scale(domain=[size, 0], nice=False, zero=False)
    spans = blocks.filter(polars.col("row_class") == polars.col("column_class"))
    x = altair.X("left:Q", scale=edge, axis=None)
    y = altair.Y("top:Q", scale=down, axis=_class_axis(spans), title=None)
    whole = altair.Data(values=[{"left": 0, "right": size, "top": 0, "bottom": size}])
    picture = (
        altair.Chart(whole)
        .mark_image(url=_picture(_matrix(part)), aspect=False, smooth=False)
        .encode(x=x, x2="right:Q", y=y, y2="bottom:Q")
    )
    cells = (
        altair.Chart(values(blocks))
        .mark_rect(fill=INK, fillOpacity=0, stroke=INK, strokeWidth=0.5, strokeOpacity=0.55)
        .encode(
            x=x,
            x2="right:Q",
            y=y,
            y2="bottom:Q",
            tooltip=[
                altair.Tooltip("row_class:N", title="images of"),
                altair.Tooltip("column_class:N", title="with images of"),
                altair.Tooltip("deviations:Q", format="+.2f", title="deviations from the mean"),
                altair.Tooltip("model:N"),
                altair.Tooltip("run:N"),
            ],
        )
        .transform_calculate(
            model=json.dumps(moment["model"]),
            run=json.dumps(f"{moment['target']}, {moment['recipe']}, seed {moment['seed']}"),
        )
    )
    label = f"{_WORDS[moment['moment']].format(moment['epoch'])} · LFC {_lfc(moment['lfc'])}"
    if several:
        place = evidence.label(moment["target"], moment["shots"])
        label = f"{place} · {moment['model']} · {moment['recipe']} · {label}"
    return Panel(label, altair.layer(picture, cells), height=300)


def _class_axis(spans: polars.DataFrame) -> altair.Axis | None:
    """Name the classes at the middle of their images; None where names would not fit."""
    if spans.height > _NAMES_SHOWN:
        return None
    middles = [(row["top"] + row["bottom"]) / 2 for row in spans.iter_rows(named=True)]
    names = dict(zip(map(str, map(_plain, middles)), spans["row_class"].to_list(), strict=True))
    return altair.Axis(
        values=middles,
        labelExpr=f"({json.dumps(names)})[datum.value]",
        labelLimit=80,
        labelPadding=6,
        grid=False,
        ticks=False,
        domain=False,
    )


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _picture(matrix: numpy.ndarray) -> str:
    """Return the matrix as a PNG in a data URI: ten thousand rectangles would choke a browser."""
    from PIL import Image, ImageColor

    ends = [numpy.array(ImageColor.getrgb(colour)) for colour in (_LOW, _MIDDLE, _HIGH)]
    share = numpy.clip(matrix / _END, -1, 1)[..., None]
    pixels = numpy.where(
        share < 0, ends[1] + share * (ends[1] - ends[0]), ends[1] + share * (ends[2] - ends[1])
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels.round().astype(numpy.uint8)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
