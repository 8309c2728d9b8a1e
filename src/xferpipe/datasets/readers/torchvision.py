"""Any classification set of `torchvision.datasets`, by its class name.

Where the class lists its files they are the manifest's paths, decoded like any others; where it
holds arrays or archives, `index` counts its images over train, validation and test.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import polars
from PIL import Image

from xferpipe.config.datasets import TorchvisionData
from xferpipe.config.nearest import suggestion
from xferpipe.datasets.checks import SPLITS, DatasetError
from xferpipe.datasets.pixels import fitted
from xferpipe.datasets.walk import files_below

_BY_TRAIN = {"train": {"train": True}, "test": {"train": False}}
_UNSPLIT = {None: {}}


def _by_split(**values: str) -> dict[str | None, dict[str, Any]]:
    return {split: {"split": value} for split, value in values.items()}


_THREE = _by_split(train="train", validation="val", test="test")
_THREE_VALID = _by_split(train="train", validation="valid", test="test")
_TRAIN_VAL = _by_split(train="train", validation="val")
#: Split arguments that a signature does not tell, from the documentation of the classes.
_SPLITS: dict[str, dict[str | None, dict[str, Any]]] = {
    "CLEVRClassification": _TRAIN_VAL,
    "CelebA": _THREE_VALID,
    "Country211": _THREE_VALID,
    "DTD": _THREE,
    "EMNIST": _BY_TRAIN,
    "FGVCAircraft": _THREE,
    "Flowers102": _THREE,
    "ImageNet": _TRAIN_VAL,
    "Imagenette": _TRAIN_VAL,
    "INaturalist": {"train": {"version": "2021_train"}, "validation": {"version": "2021_valid"}},
    "LSUN": {"train": {"classes": "train"}, "validation": {"classes": "val"}},
    "OxfordIIITPet": _by_split(train="trainval", test="test"),
    "PCAM": _THREE,
    "Places365": _by_split(train="train-standard", validation="val"),
    "RenderedSST2": _THREE,
}


def read(dataset: TorchvisionData, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images of every split; labels are numbered in the order of the set's own values."""
    parts = _parts(dataset)
    values = [_values(dataset, part) for _, part in parts]
    if not sum(map(len, values)):
        return polars.DataFrame()
    known = numpy.unique(numpy.concatenate(values)).tolist()
    names = _class_names(parts[0][1], known)
    labels = {value: label for label, value in enumerate(known)}
    paths = [_paths(dataset, part) for _, part in parts]
    files = all(part is not None for part in paths)
    rows, index = [], 0
    for (split, _), part_values, part_paths in zip(parts, values, paths, strict=True):
        for i, value in enumerate(part_values.tolist()):
            label = labels[value]
            place = (part_paths[i], None) if files else (None, index)
            rows.append((*place, label, names[label], split))
            index += 1
    return polars.DataFrame(
        rows,
        schema={
            "path": polars.String,
            "index": polars.Int64,
            "label": polars.Int64,
            "class_name": polars.String,
            "split": polars.String,
        },
        orient="row",
    )


def images(
    dataset: TorchvisionData, manifest: polars.DataFrame, *, seed: int
) -> Iterator[numpy.ndarray]:
    """Yield the images of a set that is no files: uint8 (1, 3, px, px) each."""
    parts = [part for _, part in _parts(dataset)]
    ends = numpy.cumsum([len(part) for part in parts])
    for index in manifest["index"]:
        number = int(numpy.searchsorted(ends, index, side="right"))
        if number == len(parts):
            raise DatasetError(
                f"{_where(dataset)}: image {index} is in the manifest, but the set has {ends[-1]}; "
                "rebuild the manifest"
            )
        part = parts[number]
        image = part[index - int(ends[number]) + len(part)][0]
        yield fitted(image, dataset.image_px, dataset.fit, dataset.decoding)[None]


def files(dataset: TorchvisionData) -> list[str] | None:
    """List every file below the root, whose formats are not ours; None where it may be downloaded.

    What torchvision fetches is what the name says, and its folder is empty before the first run.

    Raises:
        DatasetError: The folder is missing or empty.
    """
    if not dataset.reads_own_files:
        return None
    found = list(files_below(dataset.root))
    if not found:
        raise DatasetError(
            f"{_where(dataset)}: an empty folder; put the data there, or set 'download: true'"
        )
    return found


def _where(dataset: TorchvisionData) -> str:
    return f"torchvision.datasets.{dataset.name} in {dataset.root}"


def _parts(dataset: TorchvisionData) -> list[tuple[str | None, Any]]:
    """Open every split of the set: (split, torchvision data set)."""
    from torchvision import datasets

    kind = getattr(datasets, dataset.name, None)
    if dataset.name not in datasets.__all__ or not inspect.isclass(kind):
        names = [name for name in datasets.__all__ if name[0].isupper()]
        raise DatasetError(
            f"datasets: torchvision has no data set {dataset.name!r}"
            f"{suggestion(dataset.name, names)}; allowed: {', '.join(names)}"
        )
    parameters = inspect.signature(kind.__init__).parameters
    common = dict(dataset.options)
    if "root" in parameters:
        common["root"] = str(dataset.root)
    if "download" in parameters or dataset.download:
        common["download"] = dataset.download
    splits = dataset.splits or _SPLITS.get(dataset.name) or _documented(parameters)
    order = sorted(splits, key=lambda split: -1 if split is None else SPLITS.index(split))
    opened = []
    for split in order:
        arguments = {**common, **splits[split]}
        try:
            opened.append((split, kind(**arguments)))
        except Exception as error:
            # Each class fails in its own way: RuntimeError, TypeError, ImportError, OSError ...
            raise DatasetError(
                f"{_where(dataset)}: cannot be opened with {arguments}: {error}; put the data "
                "there, set 'download: true', or correct 'options' and 'splits'"
            ) from error
    return opened


def _documented(parameters: Any) -> dict[str | None, dict[str, Any]]:
    """Guess the split arguments from a signature: `train=` or `split=`, else one unsplit set."""
    if "train" in parameters:
        return _BY_TRAIN
    if "split" in parameters:
        return _by_split(train="train", test="test")
    if "image_set" in parameters:
        return {"train": {"image_set": "train"}, "validation": {"image_set": "val"}}
    return _UNSPLIT


def _values(dataset: TorchvisionData, part: Any) -> numpy.ndarray:
    """Return the set's own label of each image, int64 (n).

    The classes keep their labels under different names. One that agrees with what the set gives for
    its first, middle and last image is taken; else every image is asked for, and so decoded.
    """
    n = len(part)
    if n == 0:
        return numpy.empty(0, dtype=numpy.int64)
    probes = {i: _one(dataset, part[i][1]) for i in (0, n // 2, n - 1)}
    for name in ("targets", "labels", "_labels", "y", "samples", "_samples"):
        listed = getattr(part, name, None)
        if listed is None or len(listed) != n:
            continue
        if name.endswith("samples"):
            listed = [sample[1] for sample in listed]
        values = numpy.asarray(listed)
        if values.ndim != 1 or values.dtype.kind not in "iu":
            continue
        if all(values[i] == value for i, value in probes.items()):
            return values.astype(numpy.int64)
    return numpy.array([_one(dataset, part[i][1]) for i in range(n)], dtype=numpy.int64)


def _one(dataset: TorchvisionData, target: Any) -> int:
    """Turn one target into a whole number."""
    value = numpy.asarray(target)
    if value.size != 1 or value.dtype.kind not in "iub":
        raise DatasetError(
            f"{_where(dataset)}: its targets are {type(target).__name__} ({str(target)[:60]}), "
            "expected one whole number an image; choose a classification target in 'options' "
            "(target_type), or another data set"
        )
    return int(value.reshape(()))


def _class_names(part: Any, values: list[int]) -> list[str]:
    classes = getattr(part, "classes", None)
    if not isinstance(classes, list | tuple) or values[0] < 0 or len(classes) <= values[-1]:
        return [str(value) for value in values]
    # ImageNet's are tuples of synonyms, and two of its classes share a name.
    names = [classes[value] for value in values]
    names = [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]
    if len(set(names)) < len(names):
        names = [f"{name} ({value})" for name, value in zip(names, values, strict=True)]
    return names


def _paths(dataset: TorchvisionData, part: Any) -> list[str] | None:
    """Return the file of each image below the root; None where images are no files.

    A list counts only if its first file holds just what the set gives for its first image.
    """
    # Not `resolve`: files may be links to another disk, and their names here are what counts.
    root = Path(os.path.abspath(dataset.root))
    for name in ("samples", "_samples", "_image_files", "_images"):
        listed = getattr(part, name, None)
        if not isinstance(listed, list) or len(listed) != len(part) or not listed:
            continue
        files = [item[0] if isinstance(item, tuple) else item for item in listed]
        if not all(isinstance(file, str | Path) for file in files):
            continue
        files = [Path(os.path.abspath(file)) for file in files]
        if not all(file.is_relative_to(root) for file in files):
            continue
        given = part[0][0]
        with Image.open(files[0]) as image:
            same = isinstance(given, Image.Image) and numpy.array_equal(
                numpy.asarray(image.convert("RGB")), numpy.asarray(given.convert("RGB"))
            )
        if same:
            return [file.relative_to(root).as_posix() for file in files]
    return None
