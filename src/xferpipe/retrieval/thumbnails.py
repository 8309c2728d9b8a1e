"""Small JPEGs of the images that are shown, kept in the tables so that a report needs no files."""

from __future__ import annotations

import io
from collections.abc import Iterable

from PIL import Image

from xferpipe.datasets.images import Images

_SIDE_PX = 96


def thumbnails(images: Images, rows: Iterable[int]) -> dict[int, bytes]:
    """Return a JPEG of each image, at most 96 pixels a side.

    Args:
        images: Images of the data set.
        rows: Manifest rows; repeats are drawn once.
    """
    wanted = sorted(set(rows))
    pictures = {}
    for row, pixels in zip(wanted, images.batch(wanted) if wanted else (), strict=True):
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        picture.thumbnail((_SIDE_PX, _SIDE_PX))
        data = io.BytesIO()
        picture.save(data, format="JPEG", quality=88)
        pictures[row] = data.getvalue()
    return pictures
