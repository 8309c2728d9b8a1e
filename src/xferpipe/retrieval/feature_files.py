"""Features from elsewhere: Parquet, or NPY with a table beside it; mapped, never loaded whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy
import polars
import pyarrow
import pyarrow.parquet

from xferpipe.retrieval.comparison import Progress

#: Columns of labels; `identity` must be there.
COLUMNS = ("identity", "camera", "sequence", "path")
_BATCH_BYTES = 4 << 20
#: Parquet is read through a buffer of this size, not a whole column of a row group at a time.
_BUFFER_BYTES = 1 << 20


class FeatureFileError(ValueError):
    """A file of features cannot be used; the message says what is wrong and what is expected."""


@dataclass(frozen=True)
class FeatureFile:
    """Features and what is known of their images.

    Attributes:
        features: float (n, d), mapped from disk.
        labels: Columns identity, camera, sequence and path, null where the file has none, and row.
    """

    features: numpy.ndarray
    labels: polars.DataFrame


@contextmanager
def opened(path: Path, *, progress: Progress | None = None) -> Iterator[FeatureFile]:
    """Open a file of features.

    Args:
        path: Parquet with columns `identity` and `feature` (lists of d numbers) and, where they are
            known, `camera`, `sequence` and `path`; or NPY (n, d) with a table of the other columns
            beside it, of the same name and ending .parquet or .csv.
        progress: Called as a Parquet file is read.
    Yields:
        The features. Those of a Parquet file lie in a temporary NPY file until the end.
    Raises:
        FeatureFileError: No such file, or its content does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FeatureFileError(f"{path}: no such file; expected .parquet or .npy")
    if path.suffix == ".npy":
        yield _from_npy(path)
    elif path.suffix == ".parquet":
        with tempfile.TemporaryDirectory(prefix="xferpipe-") as folder:
            yield _from_parquet(path, Path(folder, "features.npy"), progress)
    else:
        raise FeatureFileError(
            f"{path}: expected .parquet or .npy, not {path.suffix or 'no ending'}"
        )


def numbered(
    query: polars.DataFrame, gallery: polars.DataFrame, column: str
) -> tuple[numpy.ndarray | None, numpy.ndarray | None]:
    """Number names alike on both sides; whole numbers stay as they are.

    Returns:
        Values of queries and gallery: int64, or float64 with NaN where some are unknown. None
        where a side has none at all.
    """
    sides = [query[column], gallery[column]]
    if any(side.count() == 0 for side in sides):
        return None, None
    if not all(side.dtype.is_integer() for side in sides):
        both = polars.concat([side.cast(polars.String) for side in sides]).rank("dense")
        sides = [both[: len(query)].cast(polars.Int64), both[len(query) :].cast(polars.Int64)]
    return tuple(side.to_numpy().copy() for side in sides)


def _from_npy(path: Path) -> FeatureFile:
    try:
        features = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FeatureFileError(f"{path}: cannot be read as NPY ({error}); write it again") from None
    _check_shape(path, features.shape, features.dtype)
    sidecars = [path.with_suffix(".parquet"), path.with_suffix(".csv")]
    found = [sidecar for sidecar in sidecars if sidecar.is_file()]
    if not found:
        raise FeatureFileError(
            f"{path}: no table of labels beside it; expected {sidecars[0].name} or "
            f"{sidecars[1].name} with a column 'identity' (and camera, sequence, path)"
        )
    labels = _labels(found[0])
    if len(labels) != len(features):
        raise FeatureFileError(
            f"{path} has {len(features)} rows but {found[0]} has {len(labels)}; write both from "
            "one list of images"
        )
    return FeatureFile(features, labels)


def _from_parquet(path: Path, target: Path, progress: Progress | None) -> FeatureFile:
    try:
        # Not mapped: decoded pages would stay in memory until the whole file is.
        file = pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise FeatureFileError(f"{path}: cannot be read as Parquet ({error})") from None
    with file:
        names = file.schema_arrow.names
        if "feature" not in names:
            raise FeatureFileError(
                f"{path}: no column 'feature' (columns: {', '.join(names)}); expected lists of "
                "numbers, all of one length"
            )
        labels = _labels(path)
        _decode(path, file, target, progress)
    pyarrow.default_memory_pool().release_unused()
    return FeatureFile(numpy.load(target, mmap_mode="r"), labels)


def _decode(
    path: Path, file: pyarrow.parquet.ParquetFile, target: Path, progress: Progress | None
) -> None:
    """Write the features to an NPY file, a batch at a time and never through a map.

    Pages of a map that are written to would count as this process's own memory.
    """
    rows, width = file.metadata.num_rows, _width(path, file)
    done = 0
    with target.open("wb") as decoded:
        batch = max(1, _BATCH_BYTES // (8 * width))
        for part in file.iter_batches(batch_size=batch, columns=["feature"]):
            features = _matrix(path, part.column(0), width, done)
            if done == 0:
                header = numpy.lib.format.header_data_from_array_1_0(features)
                header |= {"shape": (rows, width)}
                numpy.lib.format.write_array_header_1_0(decoded, header)
            features.tofile(decoded)
            done += len(part)
            if progress is not None:
                progress(f"reading {path.name}", done, rows)


def _width(path: Path, file: pyarrow.parquet.ParquetFile) -> int:
    first = next(file.iter_batches(batch_size=1, columns=["feature"]), None)
    if first is None or len(first) == 0:
        raise FeatureFileError(f"{path}: no rows")
    value = first.column(0)[0].as_py()
    if not isinstance(value, list) or not value:
        raise FeatureFileError(
            f"{path}: column 'feature' holds {value!r}; expected lists of numbers"
        )
    return len(value)


def _matrix(path: Path, column: pyarrow.Array, width: int, first: int) -> numpy.ndarray:
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    if column.null_count or not (lengths == width).all():
        row = int(numpy.flatnonzero(lengths != width)[0])
        raise FeatureFileError(
            f"{path}: row {first + row} has {lengths[row]} features, the first has {width}; all "
            "must come from one model and layer"
        )
    values = column.flatten()
    if values.null_count or not pyarrow.types.is_floating(values.type):
        raise FeatureFileError(
            f"{path}: features of type {values.type} with {values.null_count} nulls; expected "
            "floating-point numbers, none of them null"
        )
    return values.to_numpy(zero_copy_only=False).reshape(-1, width)


def _labels(path: Path) -> polars.DataFrame:
    """Read the label columns of a table; a Parquet file's features stay where they are."""
    try:
        if path.suffix == ".csv":
            table = polars.scan_csv(path, infer_schema_length=None)
        else:
            table = polars.scan_parquet(path)
        names = table.collect_schema().names()
        labels = table.select(name for name in COLUMNS if name in names).collect()
    except (OSError, polars.exceptions.PolarsError) as error:
        raise FeatureFileError(f"{path}: cannot be read ({error})") from None
    if "identity" not in names or labels["identity"].null_count():
        raise FeatureFileError(
            f"{path}: every row needs a value in column 'identity' (columns: {', '.join(names)})"
        )
    missing = [polars.lit(None).alias(name) for name in COLUMNS if name not in names]
    labels = labels.with_columns(missing).select(COLUMNS)
    if labels["path"].dtype != polars.String:
        labels = labels.with_columns(polars.col("path").cast(polars.String))
    return labels.with_row_index("row").with_columns(polars.col("row").cast(polars.Int64))


def _check_shape(path: Path, shape: tuple[int, ...], dtype: numpy.dtype) -> None:
    if len(shape) != 2 or dtype.kind != "f":
        raise FeatureFileError(
            f"{path}: has shape {shape} and type {dtype}; expected floating point (rows, features)"
        )
