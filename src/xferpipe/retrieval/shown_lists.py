"""Ranked lists of files to look at: a page, or a picture a query, from the paths of the images."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars
from PIL import Image, ImageDraw, ImageFont

from xferpipe.records import atomic_path
from xferpipe.retrieval.outcomes import Outcome
from xferpipe.retrieval.picture import JUNK, MATCH, QUERY, WRONG
from xferpipe.retrieval.ranked_lists import examples

COLOURS = {"query": QUERY, "right": MATCH, "wrong": WRONG, "junk": JUNK}
_SIDE_PX, _FRAME_PX, _GAP_PX, _TEXT_PX = 112, 5, 8, 50
_STYLE = """body{font:14px sans-serif;margin:1.5em}section{margin-bottom:1.5em}
ol{display:flex;flex-wrap:wrap;gap:8px;list-style:none;padding:0;margin:0}
img,.none{width:112px;height:112px;object-fit:contain;border:5px solid;display:block}
.none{text-align:center;line-height:112px;color:#555}li{width:124px;overflow-wrap:anywhere}"""


@dataclass(frozen=True)
class ShownImage:
    """An image of a list.

    Attributes:
        path: File, or None where none is known.
        word: "query", "right", "wrong" or "junk".
        text: What stands below it: identity, camera, distance.
    """

    path: Path | None
    word: str
    text: str


@dataclass(frozen=True)
class ShownList:
    """A query and the first gallery images it found; `title` has its figures."""

    title: str
    images: list[ShownImage]


def shown_lists(
    outcome: Outcome,
    query: polars.DataFrame,
    gallery: polars.DataFrame,
    *,
    each: int,
    images: Path | None = None,
) -> list[ShownList]:
    """Choose queries to look at: the worst, median and best by average precision.

    Args:
        outcome: A ranking with its lists.
        query: Columns path, identity and camera of the queries (q).
        gallery: Likewise of the gallery (m).
        each: Queries of each kind.
        images: Folder that relative paths start from; None: the working folder.
    """
    queries, answers = query.to_dicts(), gallery
    shown = []
    for at, name in examples(outcome.figures, each).items():
        own = outcome.lists
        found = answers[own.gallery[at]].to_dicts()
        row = queries[at]
        first = _image(row, "query", images)
        items = [
            _image(
                item,
                "junk" if junk else "right" if match else "wrong",
                images,
                f"{rank}. at {distance:.4g}",
            )
            for rank, (item, junk, match, distance) in enumerate(
                zip(found, own.junk[at], own.match[at], own.distance[at], strict=True), start=1
            )
        ]
        title = (
            f"{name}: query row {row['row']}, average precision {outcome.figures.ap[at]:.3f}, "
            f"first hit at {outcome.figures.first_hit[at]}"
        )
        shown.append(ShownList(title, [first, *items]))
    return shown


def _image(row: dict, word: str, images: Path | None, place: str = "") -> ShownImage:
    parts = [f"{place} {word}".strip(), f"identity {row['identity']}"]
    if row["camera"] is not None:
        parts.append(f"camera {row['camera']}")
    path = None if row["path"] is None else Path(images or ".", row["path"])
    return ShownImage(path, word, "\n".join(parts))


def write_page(lists: Sequence[ShownList], output: Path) -> int:
    """Write a page that holds its images; returns how many images could not be read."""
    parts, lost = [], 0
    for one in lists:
        items = []
        for image in one.images:
            data = _jpeg(image.path)
            lost += data is None
            colour, text = COLOURS[image.word], html.escape(image.text).replace("\n", "<br>")
            name = html.escape(str(image.path or "no path"), quote=True)
            if data is None:
                picture = (
                    f'<div class="none" style="border-color:{colour}" title="{name}">no image</div>'
                )
            else:
                source = "data:image/jpeg;base64," + base64.b64encode(data).decode()
                picture = (
                    f'<img style="border-color:{colour}" src="{source}" alt="{name}" '
                    f'title="{name}">'
                )
            items.append(f"<li>{picture}{text}</li>")
        parts.append(
            f"<section><h2>{html.escape(one.title)}</h2><ol>{''.join(items)}</ol></section>"
        )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Ranked lists</title>'
        f"<style>{_STYLE}</style><h1>Ranked lists</h1><p>Blue: the query. Green: right. "
        f"Red: wrong. Grey: junk, left out of the figures.</p>{''.join(parts)}</html>\n"
    )
    with atomic_path(output) as temporary:
        temporary.write_text(page)
    return lost


def draw_lists(lists: Sequence[ShownList], folder: Path) -> int:
    """Draw one PNG a list, `01_worst.png` and on; returns how many images could not be read."""
    folder.mkdir(parents=True, exist_ok=True)
    font, lost = ImageFont.load_default(11), 0
    side = _SIDE_PX + 2 * _FRAME_PX
    for number, one in enumerate(lists, start=1):
        size = (len(one.images) * (side + _GAP_PX) + _GAP_PX, side + _TEXT_PX + 3 * _GAP_PX + 12)
        sheet = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(sheet)
        pen.text((_GAP_PX, _GAP_PX), one.title, fill="black", font=font)
        top = 2 * _GAP_PX + 12
        for place, image in enumerate(one.images):
            left = _GAP_PX + place * (side + _GAP_PX)
            sheet.paste(COLOURS[image.word], (left, top, left + side, top + side))
            data = _jpeg(image.path)
            lost += data is None
            inner = Image.new("RGB", (_SIDE_PX, _SIDE_PX), "white")
            if data is None:
                ImageDraw.Draw(inner).text((28, 50), "no image", fill="black", font=font)
            else:
                picture = Image.open(io.BytesIO(data))
                at = ((_SIDE_PX - picture.width) // 2, (_SIDE_PX - picture.height) // 2)
                inner.paste(picture, at)
            sheet.paste(inner, (left + _FRAME_PX, top + _FRAME_PX))
            pen.multiline_text((left, top + side + 2), image.text, fill="black", font=font)
        with atomic_path(folder / f"{number:02d}_{one.title.partition(':')[0]}.png") as temporary:
            sheet.save(temporary, format="PNG")
    return lost


def _jpeg(path: Path | None) -> bytes | None:
    """Return a small JPEG of a file, or None where it cannot be read as an image."""
    if path is None:
        return None
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
            picture.thumbnail((_SIDE_PX, _SIDE_PX))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=88)
    return data.getvalue()
