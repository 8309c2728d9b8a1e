"""Features from elsewhere: Parquet, or NPY with a table beside it; mapped, never loaded whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy
import polars
import pyarrow
import pyarrow.parquet

from xferpipe.datasets.class_names import ClassNameError, class_texts, numbers_or_names
from xferpipe.records import UNREADABLE, ArrayFileError, map_array
from xferpipe.records.delimited import DelimitedFileError, form_of, read_delimited
from xferpipe.retrieval.comparison import FLOATING, Progress
from xferpipe.retrieval.foreign_files import ENDINGS, ForeignFileError, foreign
from xferpipe.retrieval.sides import headers

#: Columns of labels; `identity` must be there.
COLUMNS = ("identity", "camera", "sequence", "path")
#: What other programs call them, in lower case.
ALIASES = {
    "identity": ("pid", "pids", "person_id", "vehicle_id", "object_id", "identity_id"),
    "camera": ("camid", "camids", "cam_id", "camera_id", "cam"),
    "sequence": ("sequence_id", "seq", "seq_id"),
    "path": ("image_path", "img_path", "file", "file_name", "filename"),
    "feature": ("features", "feat", "embedding", "embeddings"),
}
_BATCH_BYTES = 2 << 20
#: Parquet is read through a buffer of this size, not a whole column of a row group at a time.
_BUFFER_BYTES = 1 << 20


class FeatureFileError(ValueError):
    """A file of features cannot be used; the message says what is wrong and what is expected."""


@dataclass(frozen=True)
class FeatureFile:
    """Features and what is known of their images.

    Attributes:
        features: float (n, d), mapped from disk where the format allows.
        labels: Columns identity, camera, sequence and path, null where the file has none, and row.
    """

    features: numpy.ndarray
    labels: polars.DataFrame


@contextmanager
def opened(
    path: Path,
    *,
    side: str = "query",
    extra: Sequence[str] = (),
    progress: Progress | None = None,
) -> Iterator[FeatureFile]:
    """Open a file of features.

    Args:
        path: Parquet with columns `identity` and `feature` (lists of d numbers) and, where they are
            known, `camera`, `sequence` and `path`; or NPY (n, d) with a table of the other columns
            beside it, of the same name and ending .parquet or .csv. Names that other programs use
            (`pid`, `camid` ...) are understood.
            Or .npz, .pt or .mat with arrays of these names or those of evaluation codes
            (`gallery_f`, `gallery_label`, `gallery_cam`), which are loaded.
        side: "query" or "gallery", where one file holds both.
        extra: Further columns of labels to keep.
        progress: Called as a Parquet file is read.
    Yields:
        The features. Those of a Parquet file lie in a temporary NPY file until the end.
    Raises:
        FeatureFileError: No such file, or its content does not fit.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "no such file"
        raise FeatureFileError(f"{path}: {kind}; expected a file .parquet, .npy, .npz, .pt or .mat")
    if path.suffix == ".npy":
        yield _from_npy(path, extra)
    elif path.suffix == ".parquet":
        with tempfile.TemporaryDirectory(prefix="xferpipe-") as folder:
            yield _from_parquet(path, Path(folder, "features.npy"), extra, progress)
    elif path.suffix in ENDINGS:
        yield _from_foreign(path, side, extra)
    else:
        raise FeatureFileError(
            f"{path}: expected .parquet, .npy, .npz, .pt or .mat, not {path.suffix or 'no ending'}"
        )


def _from_npy(path: Path, extra: Sequence[str]) -> FeatureFile:
    try:
        features = map_array(path)
    except ArrayFileError as error:
        raise FeatureFileError(
            f"{path}: cannot be read as NPY ({error}); write it again with numpy.save"
        ) from None
    _check_matrix(path, features)
    sidecars = [path.with_suffix(".parquet"), path.with_suffix(".csv")]
    found = [sidecar for sidecar in sidecars if sidecar.is_file()]
    if not found:
        raise FeatureFileError(
            f"{path}: no table of labels beside it; expected {sidecars[0].name} or "
            f"{sidecars[1].name} with a column 'identity' (and camera, sequence, path)"
        )
    labels = _labels(found[0], extra)
    if len(labels) != len(features):
        raise FeatureFileError(
            f"{path} has {len(features)} rows but {found[0]} has {len(labels)}; write both from "
            "one list of images"
        )
    return FeatureFile(features, labels)


def _from_foreign(path: Path, side: str, extra: Sequence[str]) -> FeatureFile:
    try:
        features, labels = foreign(path, side, ALIASES)
    except ForeignFileError as error:
        raise FeatureFileError(str(error)) from None
    _check_matrix(path, features)
    return FeatureFile(
        numpy.ascontiguousarray(features),
        checked_labels(path, labels, [*labels.columns, "feature"], extra),
    )


def _check_matrix(path: Path, features: numpy.ndarray) -> None:
    if features.ndim != 2 or features.dtype not in FLOATING or 0 in features.shape:
        raise FeatureFileError(
            f"{path}: has shape {features.shape} and type {features.dtype}; expected float16, "
            "float32 or float64 (rows, features), at least one of each"
        )


def _from_parquet(
    path: Path, target: Path, extra: Sequence[str], progress: Progress | None
) -> FeatureFile:
    try:
        # Not mapped: decoded pages would stay in memory until the whole file is.
        file = pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise FeatureFileError(f"{path}: cannot be read as Parquet ({_line(error)})") from None
    with file:
        names = file.schema_arrow.names
        column = columns(path, names).get("feature")
        if column is None:
            raise FeatureFileError(
                f"{path}: no column 'feature' (columns: {', '.join(names)}); expected lists of "
                "numbers, all of one length"
            )
        labels = _labels(path, extra)
        _decode(path, file, column, target, progress)
    pyarrow.default_memory_pool().release_unused()
    return FeatureFile(map_array(target), labels)


def _decode(
    path: Path,
    file: pyarrow.parquet.ParquetFile,
    column: str,
    target: Path,
    progress: Progress | None,
) -> None:
    """Write the features to an NPY file, a batch at a time and never through a map.

    Pages of a map that are written to would count as this process's own memory.
    """
    rows, width = file.metadata.num_rows, _width(path, file, column)
    done = 0
    with target.open("wb") as decoded:
        batch = max(1, _BATCH_BYTES // (8 * width))
        for part in _batches(path, file, column, batch):
            features = _matrix(path, part.column(0), width, done)
            if done == 0:
                header = numpy.lib.format.header_data_from_array_1_0(features)
                header |= {"shape": (rows, width)}
                numpy.lib.format.write_array_header_1_0(decoded, header)
            features.tofile(decoded)
            done += len(part)
            if progress is not None:
                progress(f"reading {path.name}", done, rows)
    if done != rows:
        raise FeatureFileError(
            f"{path}: its footer promises {rows} rows but {done} are there; write it again"
        )


def _batches(
    path: Path, file: pyarrow.parquet.ParquetFile, column: str, rows: int
) -> Iterator[pyarrow.RecordBatch]:
    try:
        # One column has nothing for a second thread, which would only hold more memory.
        yield from file.iter_batches(batch_size=rows, columns=[column], use_threads=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise FeatureFileError(
            f"{path}: column {column!r} cannot be read ({_line(error)}); write it again"
        ) from None


def _width(path: Path, file: pyarrow.parquet.ParquetFile, column: str) -> int:
    first = next(_batches(path, file, column, 1), None)
    if first is None or len(first) == 0:
        raise FeatureFileError(f"{path}: no rows")
    value = first.column(0)[0].as_py()
    if not isinstance(value, list) or not value:
        raise FeatureFileError(
            f"{path}: column {column!r} holds {value!r} in row 0; expected lists of numbers"
        )
    return len(value)


def _matrix(path: Path, column: pyarrow.Array, width: int, first: int) -> numpy.ndarray:
    if column.null_count:
        row = first + int(numpy.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise FeatureFileError(f"{path}: row {row} has no features (null); leave it out")
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    if not (lengths == width).all():
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


def columns(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Map our names of columns to those of a file, which may be another program's.

    Raises:
        FeatureFileError: Two columns mean the same, and neither has our name for it.
    """
    try:
        plain = {name: stripped.lower() for name, stripped in headers(names).items()}
    except ValueError as error:
        raise FeatureFileError(f"{path}: {error}") from None
    found = {}
    for ours, others in ALIASES.items():
        for known in ([ours], others):
            mine = [name for name, word in plain.items() if word in known]
            if len(mine) > 1:
                raise FeatureFileError(
                    f"{path}: columns {' and '.join(map(repr, mine))} both mean {ours}; call the "
                    f"right one {ours!r}"
                )
            if mine:
                found[ours] = mine[0]
                break
    return found


def checked_labels(
    path: Path, labels: polars.DataFrame, names: Sequence[str], extra: Sequence[str] = ()
) -> polars.DataFrame:
    """Return a table of labels with all columns there are, and column row.

    Args:
        path: File they come from, for the messages.
        labels: Columns under our names.
        names: Columns as the file calls them.
        extra: Columns that must be there beside identity.
    Raises:
        FeatureFileError: A row has no identity, or a value is neither a whole number nor a name.
    """
    numbers = [column for column in labels if column.name != "path"]
    labels = labels.with_columns(_whole(path, column) for column in numbers)
    if "identity" not in labels.columns or labels["identity"].null_count():
        raise FeatureFileError(
            f"{path}: every row needs a value in column 'identity' (columns: {', '.join(names)})"
        )
    if lost := [name for name in extra if name not in labels.columns]:
        raise FeatureFileError(f"{path}: no column {lost[0]!r} (columns: {', '.join(names)})")
    missing = [polars.lit(None).alias(name) for name in COLUMNS if name not in labels.columns]
    labels = labels.with_columns(missing).select(list(dict.fromkeys((*COLUMNS, *extra))))
    if labels["path"].dtype not in (polars.String, polars.Null):
        labels = labels.with_columns(polars.col("path").cast(polars.String))
    return labels.with_row_index("row").with_columns(polars.col("row").cast(polars.Int64))


def _labels(path: Path, extra: Sequence[str]) -> polars.DataFrame:
    """Read the label columns of a table; a Parquet file's features stay where they are."""
    try:
        if path.suffix == ".csv":
            names, labels = _csv_labels(path, extra)
        else:
            names, labels = _selected(path, polars.scan_parquet(path, glob=False), extra)
    except ClassNameError as error:
        raise FeatureFileError(f"{path}: column {error}") from None
    except (DelimitedFileError, *UNREADABLE) as error:
        raise FeatureFileError(f"{path}: cannot be read ({_line(error)})") from None
    return checked_labels(path, labels, names, extra)


def _csv_labels(path: Path, extra: Sequence[str]) -> tuple[list[str], polars.DataFrame]:
    """Read labels as they are written, and number them where all are whole numbers."""
    words = [*COLUMNS, *extra, *(word for others in ALIASES.values() for word in others)]
    form = form_of(path, words)
    names = [name for name in form.names if name]
    found = _chosen(path, names, extra)
    labels = read_delimited(path, form, only=found.values(), texts=None)
    labels = labels.select(polars.col(name).alias(ours) for ours, name in found.items())
    return names, labels.with_columns(
        numbers_or_names(class_texts(column)) for column in labels if column.name != "path"
    )


def _chosen(path: Path, names: Sequence[str], extra: Sequence[str]) -> dict[str, str]:
    """Map the columns of labels that are there, under our names, to a file's."""
    found = {ours: name for ours, name in columns(path, names).items() if ours != "feature"}
    return found | {name: name for name in extra if name in names}


def _selected(
    path: Path, table: polars.LazyFrame, extra: Sequence[str]
) -> tuple[list[str], polars.DataFrame]:
    names = table.collect_schema().names()
    found = _chosen(path, names, extra)
    chosen = [polars.col(name).alias(ours) for ours, name in found.items()]
    return names, table.select(chosen).collect()


def _whole(path: Path, column: polars.Series) -> polars.Series:
    """Return numbers as whole ones, NaN as unknown, and names as they are.

    Where some are missing, a table from pandas has whole numbers as floating-point ones.
    """
    kind = column.dtype
    if kind.is_float():
        column = column.fill_nan(None)
        strange = column.filter(column != column.round())
        if strange.is_empty() and (column.is_infinite().any() is not True):
            return column.cast(polars.Int64)
        expected = f"holds {strange[0] if len(strange) else 'infinity'}"
    elif kind.is_integer() or kind in (polars.String, polars.Boolean, polars.Null):
        return column
    elif kind in (polars.Categorical, polars.Enum):
        return column.cast(polars.String)
    else:
        expected = f"has type {kind}"
    raise FeatureFileError(
        f"{path}: column {column.name!r} {expected}; expected whole numbers or names"
    )


def _line(error: Exception) -> str:
    """Return the first line of a library's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
