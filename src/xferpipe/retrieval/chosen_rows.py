"""Some rows of a file of features: those of other identities than are to be left out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy
import polars

from xferpipe.ops import mapped
from xferpipe.records import map_array
from xferpipe.retrieval.feature_files import FeatureFile

#: What Market-1501 and its like call boxes that show nobody.
JUNK_IDENTITY = "-1"
#: Features up to this size are copied in memory, others to a temporary file.
_IN_MEMORY_BYTES = 32 << 20
_BLOCK_BYTES = 16 << 20


@contextmanager
def chosen_rows(file: FeatureFile, rows: numpy.ndarray) -> Iterator[FeatureFile]:
    """Yield some rows of a file; column `row` of the labels still says which they were.

    Args:
        file: Features (n, d), mapped or in memory.
        rows: Ascending row numbers (k).
    """
    labels = file.labels[rows]
    features, width = file.features, file.features.shape[1]
    step = max(1, _BLOCK_BYTES // (features.itemsize * width))
    if features.itemsize * width * len(rows) <= _IN_MEMORY_BYTES:
        taken = numpy.empty((len(rows), width), features.dtype)
        for first in range(0, len(rows), step):
            taken[first : first + step] = features[rows[first : first + step]]
            mapped.release(features)
        yield FeatureFile(taken, labels)
        return
    with tempfile.TemporaryDirectory(prefix="xferpipe-") as folder:
        path = Path(folder, "rows.npy")
        # Written and not mapped for writing: pages that are written to would count as our memory.
        with path.open("wb") as target:
            header = numpy.lib.format.header_data_from_array_1_0(features[:0])
            header |= {"shape": (len(rows), width), "fortran_order": False}
            numpy.lib.format.write_array_header_1_0(target, header)
            for first in range(0, len(rows), step):
                numpy.ascontiguousarray(features[rows[first : first + step]]).tofile(target)
                mapped.release(features)
        yield FeatureFile(map_array(path), labels)


@contextmanager
def without_identities(
    query: FeatureFile, gallery: FeatureFile, dropped: Sequence[str]
) -> Iterator[tuple[FeatureFile, FeatureFile]]:
    """Yield both files without the images of some identities.

    Args:
        query: Queries.
        gallery: Gallery.
        dropped: Identities as they are written, "-1" say; a number is meant by its value.
    Raises:
        ValueError: No image has such an identity, or none is left on a side.
    """
    if not dropped:
        yield query, gallery
        return
    files = {"query": query, "gallery": gallery}
    kept = {side: numpy.ones(len(file.labels), dtype=bool) for side, file in files.items()}
    for identity in dropped:
        found = {side: has_identity(file.labels, identity) for side, file in files.items()}
        if not any(mask.any() for mask in found.values()):
            names = gallery.labels["identity"].unique().sort().head(5).cast(polars.String)
            raise ValueError(
                f"--drop-identity {identity}: no image has this identity (identities of the "
                f"gallery: {', '.join(names)} ...); leave the option out"
            )
        for side, mask in found.items():
            kept[side] &= ~mask
    for side, mask in kept.items():
        if not mask.any():
            raise ValueError(
                f"--drop-identity {' '.join(dropped)} leaves no row of the {side}; drop fewer"
            )
    with (
        chosen_rows(query, numpy.flatnonzero(kept["query"])) as queries,
        chosen_rows(gallery, numpy.flatnonzero(kept["gallery"])) as answers,
    ):
        yield queries, answers


def has_identity(labels: polars.DataFrame, identity: str) -> numpy.ndarray:
    """Tell which rows have an identity, by its words or its value, bool (n)."""
    words = labels["identity"].cast(polars.String)
    mask = words == identity
    number = polars.Series([identity]).cast(polars.Int64, strict=False)
    if number.null_count() == 0:
        mask |= (words.cast(polars.Int64, strict=False) == number[0]).fill_null(False)
    return mask.to_numpy()


def junk_notes(query: polars.DataFrame, gallery: polars.DataFrame) -> list[str]:
    """Say where identity -1 counts as an identity."""
    notes = []
    if count := int(has_identity(gallery, JUNK_IDENTITY).sum()):
        notes.append(
            f"{count} of {len(gallery)} gallery images have identity -1, which means nobody in "
            "many sets: they count as wrong results; --drop-identity -1 leaves them out"
        )
    if count := int(has_identity(query, JUNK_IDENTITY).sum()):
        notes.append(
            f"{count} of {len(query)} queries have identity -1, which means nobody in many sets: "
            "they count as one identity; --drop-identity -1 leaves them out"
        )
    return notes
