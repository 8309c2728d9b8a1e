"""A picture of ranked lists: one row a query, right results in green frames, wrong ones in red."""

from __future__ import annotations

import io
from pathlib import Path

import polars
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from xferpipe.records import atomic_path
from xferpipe.records.stamp import metadata_of_job

#: Frames: blue the query, green a match, red another identity, grey an image that is left out.
QUERY, MATCH, WRONG, JUNK = "#1f5fbf", "#1a9641", "#d7191c", "#8c8c8c"
_SIDE_PX, _FRAME_PX, _GAP_PX, _LABEL_PX = 96, 5, 6, 150


def draw(queries: polars.DataFrame, ranked_lists: polars.DataFrame, output: Path) -> None:
    """Draw the example queries of one run and ranking, best first, from the tables alone.

    Args:
        queries: Rows of table `retrieval_queries` of one run, re-ranked or not.
        ranked_lists: Rows of table `ranked_lists` of the same; paths are in it.
        output: PNG file to write.
    """
    shown = queries.filter(polars.col("example").is_not_null()).sort("ap", descending=True)
    if shown.is_empty():
        sheet = Image.new("RGB", (4 * _LABEL_PX, 2 * _GAP_PX + 20), "white")
        ImageDraw.Draw(sheet).text((8, _GAP_PX), "No query has a positive to show.", fill="black")
        _save(sheet, output)
        return
    lists = ranked_lists.filter(polars.col("query").is_in(shown["query"].implode()))
    length = lists["rank"].max()
    step = _SIDE_PX + 2 * _FRAME_PX + _GAP_PX
    sheet = Image.new("RGB", (_LABEL_PX + (length + 1) * step, len(shown) * step), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for line, query in enumerate(shown.iter_rows(named=True)):
        top = line * step
        text = f"{query['example']}\nAP {query['ap']:.3f}\nfirst hit {query['first_hit']}"
        pen.text((8, top + 24), text, fill="black", font=font)
        _paste(sheet, query["thumbnail"], QUERY, _LABEL_PX, top)
        for found in lists.filter(polars.col("query") == query["query"]).iter_rows(named=True):
            frame = JUNK if found["junk"] else MATCH if found["match"] else WRONG
            _paste(sheet, found["thumbnail"], frame, _LABEL_PX + found["rank"] * step, top)
    _save(sheet, output)


def _save(sheet: Image.Image, output: Path) -> None:
    about = PngInfo()
    for name, text in metadata_of_job().items():
        about.add_text(name, text)
    with atomic_path(output) as temporary:
        sheet.save(temporary, format="PNG", pnginfo=about)


def _paste(sheet: Image.Image, thumbnail: bytes, frame: str, left: int, top: int) -> None:
    side = _SIDE_PX + 2 * _FRAME_PX
    sheet.paste(frame, (left, top, left + side, top + side))
    picture = Image.open(io.BytesIO(thumbnail)).resize((_SIDE_PX, _SIDE_PX))
    sheet.paste(picture, (left + _FRAME_PX, top + _FRAME_PX))
