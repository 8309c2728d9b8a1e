"""Batches of images by manifest row: from the packed array, or decoded from files each time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import polars
import torch

from xferpipe.config.datasets import Dataset
from xferpipe.config.decoding import USUAL, Decoding
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode, processors
from xferpipe.datasets.manifest import read_manifest
from xferpipe.datasets.pixels import Fit
from xferpipe.records import ArrayFileError, map_array

Rows = Sequence[int] | numpy.ndarray | torch.Tensor


class Images:
    """Images of a data set; `len()` is n, `px` their side."""

    px: int

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(self, rows: Rows) -> torch.Tensor:
        """Return images by manifest row.

        Args:
            rows: Rows, integer (b), in any order, repeats allowed.
        Returns:
            uint8 (b, 3, px, px) on the CPU.
        """
        raise NotImplementedError

    def batches(self, batches: Iterable[Rows]) -> Iterator[torch.Tensor]:
        """Yield `batch` of each list of rows; sets that decode work ahead by two batches."""
        for rows in batches:
            yield self.batch(rows)


class PackedImages(Images):
    """Images in a memory-mapped `.npy` file: the system's page cache shares it between jobs."""

    def __init__(self, path: Path) -> None:
        try:
            self._packed = map_array(path)
        except ArrayFileError as error:
            raise DatasetError(
                f"{path}: no packed images ({error}); delete it and run the rule pack"
            ) from None
        shape, kind = self._packed.shape, self._packed.dtype
        self.px = shape[-1] if shape else 0
        if shape[1:] != (3, self.px, self.px) or kind != numpy.uint8:
            raise DatasetError(
                f"{path}: has shape {shape} and type {kind}, expected uint8 (n, 3, px, px); delete "
                "it and run the rule pack"
            )

    def __len__(self) -> int:
        return len(self._packed)

    def batch(self, rows: Rows) -> torch.Tensor:  # noqa: D102
        return torch.from_numpy(self._packed[numpy.asarray(rows, dtype=numpy.int64)])


class FileImages(Images):
    """Images decoded from their files in threads, the same bits as when packed."""

    def __init__(self, paths: Sequence[Path], px: int, fit: Fit, how: Decoding = USUAL) -> None:
        self._paths, self.px, self._fit, self._how = paths, px, fit, how
        # One set of threads for the life of the object: starting them costs more than a batch.
        self._pool = ThreadPoolExecutor(processors(), thread_name_prefix="decode")

    def __len__(self) -> int:
        return len(self._paths)

    def batch(self, rows: Rows) -> torch.Tensor:  # noqa: D102
        return next(self.batches([rows]))

    def batches(self, batches: Iterable[Rows], ahead: int = 2) -> Iterator[torch.Tensor]:
        """Yield `batch` of each list of rows, decoding the next `ahead` lists meanwhile."""
        waiting = deque()
        try:
            for rows in batches:
                waiting.append(
                    [self._pool.submit(self._decode, row) for row in numpy.asarray(rows).tolist()]
                )
                if len(waiting) > ahead:
                    yield self._collect(waiting.popleft())
            while waiting:
                yield self._collect(waiting.popleft())
        finally:
            # After an error, or when the consumer stops early, decode no further.
            for futures in waiting:
                for future in futures:
                    future.cancel()

    def _decode(self, row: int) -> numpy.ndarray:
        return decode(self._paths[row], self.px, self._fit, self._how)

    def _collect(self, futures: list) -> torch.Tensor:
        if not futures:
            return torch.empty((0, 3, self.px, self.px), dtype=torch.uint8)
        return torch.from_numpy(numpy.stack([future.result() for future in futures]))


def open_images(
    manifest: polars.DataFrame,
    images: Path | None,
    root: Path | None,
    image_px: int,
    *,
    fit: Fit = "crop",
    how: Decoding = USUAL,
) -> Images:
    """Open the images of a manifest.

    Args:
        manifest: Table `manifest`.
        images: The packed array; None decodes from files.
        root: Folder that paths start from.
        image_px: Side that files are decoded to.
        fit: How files are brought to a square, as in the data set's block.
        how: What files are read as, likewise.
    Raises:
        DatasetError: The packed array belongs to another manifest or size, or an image is no file
            and the set is not packed.
    """
    if images is not None:
        packed = PackedImages(images)
        if len(packed) != len(manifest) or packed.px != image_px:
            raise DatasetError(
                f"{images}: {len(packed)} images of {packed.px} px, but the manifest has "
                f"{len(manifest)} and the study asks for {image_px} px; run the rule pack again"
            )
        return packed
    if manifest["path"].null_count():
        raise DatasetError(
            f"{manifest['path'].null_count()} of {len(manifest)} images are no files, so they are "
            "read packed only; set 'pack: true' for this data set"
        )
    return FileImages([Path(root) / path for path in manifest["path"]], image_px, fit, how)


def open_dataset(
    dataset: Dataset, manifest: Path, images: Path | None, root: Path | None
) -> tuple[polars.DataFrame, Images]:
    """Read a data set's manifest and open its images.

    Args:
        dataset: Its block: side and fit of decoded images, and what files are read as.
        manifest: Table `manifest`.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
    Raises:
        RecordError: No such table.
        DatasetError: The images cannot be used.
    """
    rows = read_manifest(manifest)
    side, fit, how = dataset.image_px, dataset.fit, dataset.read_as
    return rows, open_images(rows, images, root, side, fit=fit, how=how)
