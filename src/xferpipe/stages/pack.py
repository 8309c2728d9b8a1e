"""The pack stage: decode a data set's images once into one memory-mapped array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import polars

from xferpipe.config.jobs import PackJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode_blocks
from xferpipe.datasets.manifest import read_manifest
from xferpipe.datasets.readers import reader_module
from xferpipe.datasets.unreadable import UnreadableImages, logged
from xferpipe.records import atomic_path


def pack(job: PackJob, *, manifest: Path, root: Path | None, images: Path) -> None:
    """Decode every image of a manifest, in its order.

    Args:
        job: Data set (its `image_px`, `fit` and `decoding`) and seed.
        manifest: Table `manifest`.
        root: Folder that paths start from; None where images are no files.
        images: Written: `.npy` file, uint8 (n, 3, px, px).
    Raises:
        UnreadableImages: Some files are missing, truncated or no images; all are tried first.
        DatasetError: The reader gives another number of images than the manifest has.
    """
    try:
        _pack(job, manifest, root, images)
    except UnreadableImages as error:
        raise logged(error) from None


def _pack(job: PackJob, manifest: Path, root: Path | None, images: Path) -> None:
    rows = read_manifest(manifest)
    px = job.dataset.image_px
    shape = (len(rows), 3, px, px)
    done = 0
    # Written in order, not through a memory map: a full disk is then an error and no bus error.
    with atomic_path(images) as temporary, temporary.open("wb") as file:
        numpy.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        for block in _blocks(job, rows, root):
            if block.shape[1:] != shape[1:] or block.dtype != numpy.uint8:
                raise DatasetError(
                    f"reader {job.dataset.reader} gave images of {block.dtype} {block.shape[1:]}, "
                    f"expected uint8 {shape[1:]}"
                )
            file.write(numpy.ascontiguousarray(block).data)
            done += len(block)
        if done != len(rows):
            raise DatasetError(
                f"reader {job.dataset.reader} gave {done} images, the manifest {manifest} has "
                f"{len(rows)}; rebuild it"
            )


def _blocks(job: PackJob, rows: polars.DataFrame, root: Path | None) -> Iterator[numpy.ndarray]:
    if rows["path"].null_count():
        return reader_module(job.dataset.reader).images(job.dataset, rows, seed=job.seed)
    paths = [Path(root) / path for path in rows["path"]]
    return decode_blocks(paths, job.dataset.image_px, job.dataset.fit, job.dataset.read_as)
