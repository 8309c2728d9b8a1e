"""A target's images as the page shows them: its rows, and small pictures of some."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import polars
from PIL import Image

from xferpipe.config.datasets import Dataset
from xferpipe.config.jobs import ReportJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import ArrayFileError, map_array, read_table

#: Side of a picture on the page; a smaller image stays as it is.
SIDE_PX = 84
_QUALITY = 78


@dataclass(frozen=True, eq=False)
class TargetImages:
    """The images of one target.

    Attributes:
        dataset: Its data set: side and fit of decoded images.
        rows: Table `manifest`.
        packed: Packed images, uint8 (n, 3, px, px), in memory only where they are touched; None
            where the set is not packed.
        root: Folder that paths start from; None where images are no files.
        files: Table `image_findings`; None where nothing is known of the files.
        sources: Tables `manifest` of data sets that models were pretrained on, by name.
    """

    dataset: Dataset
    rows: polars.DataFrame
    packed: numpy.ndarray | None = None
    root: Path | None = None
    files: polars.DataFrame | None = None
    sources: Mapping[str, polars.DataFrame] = field(default_factory=dict)

    def pictures(self, rows: Iterable[int]) -> dict[int, str]:
        """Return small pictures as data URIs.

        Args:
            rows: Rows of the manifest; repeats are drawn once.
        Returns:
            JPEGs by row, at most `SIDE_PX` a side; an image that cannot be read is left out.
        """
        found = {}
        for row in dict.fromkeys(rows):
            try:
                found[row] = _jpeg(self._pixels(row))
            except DatasetError:
                continue
        return found

    def _pixels(self, row: int) -> numpy.ndarray:
        if self.packed is not None:
            return self.packed[row]
        path = self.rows["path"][row]
        if path is None or self.root is None:
            raise DatasetError(f"row {row} is neither packed nor a file")
        return decode(
            self.root / path, self.dataset.image_px, self.dataset.fit, self.dataset.read_as
        )


def target_images(
    job: ReportJob,
    files: Mapping[str, Mapping[str, Path | None]],
    sources: Mapping[str, Path],
) -> dict[str, TargetImages]:
    """Open the images of every target.

    Args:
        job: What the report is of: targets and their data sets.
        files: By target: `manifest`; `findings` where there are any; and `images` (packed) or
            `root`, or neither.
        sources: Manifests of data sets that models were pretrained on, by name.
    Raises:
        RecordError: There is no such manifest.
        DatasetError: It is damaged, or the packed images are of another one.
    """
    found = {}
    pretrained_on = {name: read_manifest(path) for name, path in sources.items()}
    for target, paths in files.items():
        findings = paths.get("findings")
        rows = read_manifest(paths["manifest"])
        found[target] = TargetImages(
            dataset=job.datasets[job.targets[target].dataset],
            rows=rows,
            packed=_packed(paths.get("images"), rows),
            root=paths.get("root"),
            files=None if findings is None else read_table("image_findings", findings),
            sources=pretrained_on,
        )
    return found


def _packed(path: Path | None, rows: polars.DataFrame) -> numpy.ndarray | None:
    if path is None:
        return None
    try:
        packed = map_array(path)
    except ArrayFileError as error:
        raise DatasetError(f"{path}: no packed images ({error}); run the rule pack") from None
    if len(packed) != rows.height:
        raise DatasetError(
            f"{path}: {len(packed)} images, but the manifest has {rows.height}; run the rule pack"
        )
    return packed


def _jpeg(pixels: numpy.ndarray) -> str:
    """Return a picture, uint8 (3, px, px), as the data URI of a JPEG."""
    picture: Any = Image.fromarray(numpy.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.thumbnail((SIDE_PX, SIDE_PX))
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=_QUALITY)
    return jpeg_source(data.getvalue())


def jpeg_source(jpeg: bytes) -> str:
    """Return the data URI of a JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
