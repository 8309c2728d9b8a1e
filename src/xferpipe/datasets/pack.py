"""The pack stage: decode a data set's images once into one memory-mapped array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import polars

from xferpipe.config.jobs import PackJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode_blocks
from xferpipe.datasets.manifest import read_manifest, reader_module
from xferpipe.records import atomic_path


def pack(job: PackJob, *, manifest: Path, root: Path | None, output: Path) -> None:
    """Decode every image of a manifest, in its order.

    Args:
        job: Data set (its `image_px` and `fit`) and seed.
        manifest: Table `manifest`.
        root: Folder that paths start from; None where images are no files.
        output: `.npy` file to write: uint8 (n, 3, px, px).
    Raises:
        DatasetError: An image is missing, truncated or no image, or the reader gives another
            number of images than the manifest has.
    """
    rows = read_manifest(manifest)
    px = job.dataset.image_px
    with atomic_path(output) as temporary:
        packed = numpy.lib.format.open_memmap(
            temporary, mode="w+", dtype=numpy.uint8, shape=(len(rows), 3, px, px)
        )
        done = 0
        for block in _blocks(job, rows, root):
            if done + len(block) > len(rows) or block.shape[1:] != packed.shape[1:]:
                raise DatasetError(
                    f"reader {job.dataset.reader} gave {done + len(block)} images or more, the "
                    f"last of shape {block.shape[1:]}; the manifest {manifest} has {len(rows)} of "
                    f"shape {packed.shape[1:]}; rebuild it"
                )
            packed[done : done + len(block)] = block
            done += len(block)
        if done != len(rows):
            raise DatasetError(
                f"reader {job.dataset.reader} gave {done} images, the manifest {manifest} has "
                f"{len(rows)}; rebuild it"
            )
        packed.flush()


def _blocks(job: PackJob, rows: polars.DataFrame, root: Path | None) -> Iterator[numpy.ndarray]:
    if rows["path"].null_count():
        return reader_module(job.dataset.reader).images(job.dataset, rows, seed=job.seed)
    paths = [Path(root) / path for path in rows["path"]]
    return decode_blocks(paths, job.dataset.image_px, job.dataset.fit)
