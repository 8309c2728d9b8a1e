"""Features and labels from files: Parquet, CSV, NPZ, NPY and the workflow's safetensors.

    .parquet      columns label, feature (list of numbers), perhaps source_probability (likewise)
    .csv          columns label, perhaps source_probability_<k>, and one of numbers for each feature
    .npz          arrays features (n, d), labels (n), perhaps source_probabilities (n, z)
    .safetensors  tensors features and labels, perhaps logits of the source head (n, z)
    .npy          features (n, d) alone

Labels are whole numbers or names. Those of a second file take the place of the file's own:
.npy, .txt (one a line), .csv or .parquet (a column label, or one column alone). A .csv may have
semicolons or tabs for its commas; .tsv is read like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import polars

from xferpipe.records import read_tensors
from xferpipe.scores.label_files import (
    LABEL_SUFFIXES,
    classes_of,
    first_line,
    listed,
    read_array,
    read_csv,
    read_labels,
    read_parquet,
)

#: Columns of `xferpipe features` that are no feature; a CSV may have them too.
_DESCRIBING = ("path", "split", "class_name", "identity", "camera", "row")
_PROBABILITY = "source_probability_"
_SUFFIXES = (".parquet", ".csv", ".tsv", ".npz", ".npy", ".safetensors")


class LabelledFeatures(NamedTuple):
    """What a file of features holds: n images, d features, z classes of the source head."""

    #: Float (n, d).
    features: numpy.ndarray
    #: Integer or text (n).
    labels: numpy.ndarray
    #: Fractions (n, z), or None.
    source_probabilities: numpy.ndarray | None


def read_features(path: Path, labels: Path | None = None) -> LabelledFeatures:
    """Read features, labels and, where there are any, the source head's probabilities.

    Args:
        path: File of features; see the module for what each kind holds.
        labels: File of labels, in place of the file's own.
    Raises:
        ValueError: A file cannot be read, has not what is needed, or the two do not go together.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: {what}; expected a file of features ({', '.join(_SUFFIXES)})")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(_SUFFIXES)}")
    found = reader(path)
    if labels is not None:
        own = read_labels(labels)
    elif found["labels"] is not None:
        own = classes_of(found["labels"], path)
    else:
        raise ValueError(
            f"{path}: {found['without']}; --labels FILE gives one a row "
            f"({', '.join(LABEL_SUFFIXES)})"
        )
    features = _matrix(found["features"], "features", path)
    if len(own) != len(features):
        raise ValueError(
            f"{path} has {len(features)} rows but {labels or 'it'} has {len(own)} labels; expected "
            "one label a row"
        )
    if len(features) == 0 or features.shape[1] == 0:
        raise ValueError(
            f"{path}: has {len(features)} rows of {features.shape[1]} features; expected at least "
            "one of each"
        )
    classes = numpy.unique(own)
    if len(classes) < 2:
        raise ValueError(
            f"{labels or path}: all {len(own)} labels are {classes[0]}; scores tell classes apart, "
            "so at least two are needed"
        )
    probabilities = found.get("probabilities")
    if probabilities is not None:
        probabilities = _matrix(probabilities, "source probabilities", path)
        if len(probabilities) != len(features):
            raise ValueError(
                f"{path} has {len(features)} rows of features but {len(probabilities)} of source "
                "probabilities; expected as many"
            )
    return LabelledFeatures(features, own, probabilities)


def _from_parquet(path: Path) -> dict[str, Any]:
    table = read_parquet(path)
    if "feature" not in table.columns:
        raise ValueError(
            f"{path}: has columns {', '.join(table.columns)} but not feature; expected label and "
            "feature (list of numbers), and perhaps source_probability"
        )
    found = {
        "features": _lists(table, "feature", path),
        "labels": table["label"] if "label" in table.columns else None,
        "without": f"has columns {', '.join(table.columns)} but not label",
    }
    if "source_probability" in table.columns:
        found["probabilities"] = _lists(table, "source_probability", path)
    return found


def _from_csv(path: Path) -> dict[str, Any]:
    table = read_csv(path)
    probabilities = [name for name in table.columns if name.startswith(_PROBABILITY)]
    apart = {"label", *_DESCRIBING, *probabilities}
    features = [name for name in table.columns if name not in apart]
    if not features or table.is_empty():
        raise ValueError(
            f"{path}: has {table.height} rows and columns {listed(table.columns)}; expected a row "
            "an image, and a column of numbers for each feature"
        )
    written = [name for name in (*features, *probabilities) if table[name].dtype == polars.String]
    table = table.with_columns(polars.col(name).str.strip_chars() for name in written)
    for name in (*features, *probabilities):
        column = table[name]
        strange = column.cast(polars.Float64, strict=False).is_null().arg_true()
        if len(strange):
            given = "nothing" if column[strange[0]] is None else repr(column[strange[0]])
            raise ValueError(
                f"{path}: column {name!r} holds {given} in row {strange[0]} (from 0); "
                "expected a number in every row of a feature. Labels stand "
                f"in a column called label; {', '.join(_DESCRIBING)} are passed over"
            )
    found = {
        "features": table.select(features).cast(polars.Float64).to_numpy(),
        "labels": table["label"] if "label" in table.columns else None,
        "without": f"has columns {listed(table.columns)} but not label",
    }
    if probabilities:
        found["probabilities"] = table.select(probabilities).cast(polars.Float64).to_numpy()
    return found


def _from_npy(path: Path) -> dict[str, Any]:
    return {"features": read_array(path), "labels": None, "without": "holds features and no labels"}


def _from_npz(path: Path) -> dict[str, Any]:
    try:
        with numpy.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # numpy, zipfile and zlib raise a dozen types
        raise ValueError(f"{path}: cannot be read as NPZ ({first_line(error)})") from None
    return _from_arrays(path, arrays)


def _from_safetensors(path: Path) -> dict[str, Any]:
    return _from_arrays(path, read_tensors(path)[0])


def _from_arrays(path: Path, arrays: Mapping[str, numpy.ndarray]) -> dict[str, Any]:
    names = ", ".join(arrays) or "none"
    if "features" not in arrays:
        raise ValueError(
            f"{path}: has arrays {names} but not features; expected features (n, d), labels (n) "
            "and perhaps source_probabilities or logits (n, z)"
        )
    found = {
        "features": arrays["features"],
        "labels": arrays.get("labels"),
        "without": f"has arrays {names} but not labels",
    }
    logits = arrays.get("logits")
    if "source_probabilities" in arrays:
        found["probabilities"] = arrays["source_probabilities"]
    elif logits is not None and logits.ndim == 2 and logits.shape[1] > 1:
        shifted = numpy.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
        found["probabilities"] = shifted / shifted.sum(axis=1, keepdims=True)
    return found


_READERS = {
    ".parquet": _from_parquet,
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".npz": _from_npz,
    ".npy": _from_npy,
    ".safetensors": _from_safetensors,
}


def _lists(table: polars.DataFrame, name: str, path: Path) -> numpy.ndarray:
    column = table[name]
    nested = isinstance(column.dtype, polars.List | polars.Array)
    if not nested or not column.dtype.inner.is_numeric() or column.null_count():
        raise ValueError(
            f"{path}: {name} has type {column.dtype} and {column.null_count()} nulls; expected a "
            "list of numbers in every row"
        )
    if isinstance(column.dtype, polars.List):
        lengths = column.list.len().unique().to_list()
        if len(lengths) > 1:
            raise ValueError(
                f"{path}: {name} has lists of {min(lengths)} to {max(lengths)} numbers; expected "
                "one length"
            )
        column = column.list.to_array(lengths[0] if lengths else 0)
    return column.to_numpy()


def _matrix(values: numpy.ndarray, name: str, path: Path) -> numpy.ndarray:
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: {name} have shape {values.shape} and type {values.dtype}; expected a matrix "
            "of numbers, one row an image"
        )
    strange = numpy.argwhere(~numpy.isfinite(values))
    if len(strange):
        row, column = strange[0]
        raise ValueError(
            f"{path}: {name} hold {values[row, column]} in row {row}, column {column} (from 0), "
            f"and {len(strange)} such values in all; expected finite numbers"
        )
    return values
