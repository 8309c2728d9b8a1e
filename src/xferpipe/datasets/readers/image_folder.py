"""One folder per class, with or without train, validation (or val) and test folders above them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import polars

from xferpipe.config.datasets import ImageFolder
from xferpipe.datasets.checks import DatasetError, check_names, listed
from xferpipe.datasets.walk import files_below

#: Names of split folders, in lower case.
_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
#: File name extensions of images, in lower case; others (lists, licences) are passed over.
EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read(dataset: ImageFolder, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images; classes are numbered in the order of their folders' names.

    Folders within a class folder belong to the class. Names that begin with a dot are left out.
    """
    root = Path(dataset.root if root is None else root)
    where = f"image folder {root}"
    top = _folders(root)
    splits = {name: _SPLITS[name.lower()] for name in top if name.lower() in _SPLITS}
    if splits:
        if extra := sorted(set(top) - set(splits)):
            raise DatasetError(
                f"{where}: split folders ({', '.join(splits)}) beside other folders "
                f"({listed(extra)}); move the others away"
            )
        if len(set(splits.values())) < len(splits):
            raise DatasetError(
                f"{where}: two folders for one split ({', '.join(splits)}); keep one"
            )
        if "train" not in splits.values():
            raise DatasetError(f"{where}: no train folder beside {', '.join(splits)}; add it")
    else:
        splits = {"": None}
    found = [
        (path, class_name, split)
        for folder, split in splits.items()
        for class_name, path in _images(root, folder, where)
    ]
    check_names([path for path, _, _ in found], where=where)
    names = sorted({class_name for _, class_name, _ in found})
    labels = {name: label for label, name in enumerate(names)}
    return polars.DataFrame(
        [(path, labels[name], name, split) for path, name, split in found],
        schema={
            "path": polars.String,
            "label": polars.Int64,
            "class_name": polars.String,
            "split": polars.String,
        },
        orient="row",
    )


def files(dataset: ImageFolder) -> list[str]:
    """List the images below the root, those included that `read` refuses for their place.

    Raises:
        DatasetError: There is no such folder, or no image: an empty one is where a disk belongs.
    """
    found = [path for path in files_below(dataset.root) if _is_image(PurePosixPath(path).name)]
    if not found:
        raise DatasetError(
            f"image folder {dataset.root}: no images ({', '.join(EXTENSIONS)}); put them there, or "
            "correct 'root'"
        )
    return found


def _images(root: Path, split_folder: str, where: str) -> list[tuple[str, str]]:
    """Return (class, path below the root) of every image of one split."""
    base = root / split_folder
    loose = [item.name for item in os.scandir(base) if item.is_file() and _is_image(item.name)]
    if loose:
        raise DatasetError(
            f"{where}: {base / min(loose)} lies outside the class folders ({len(loose)} such "
            "images); move each into the folder of its class"
        )
    found = []
    for class_name in _folders(base):
        paths = [
            PurePosixPath(split_folder, class_name, name).as_posix()
            for name in files_below(base / class_name)
            if _is_image(PurePosixPath(name).name)
        ]
        if not paths:
            raise DatasetError(
                f"{where}: class folder {base / class_name} is empty (no {', '.join(EXTENSIONS)}); "
                "add images or remove the folder"
            )
        found += [(class_name, path) for path in paths]
    return found


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def _folders(base: Path) -> list[str]:
    """Return the folders in a folder, sorted by name."""
    try:
        names = [item.name for item in os.scandir(base) if item.is_dir()]
    except OSError as error:
        raise DatasetError(
            f"{base}: {error.strerror}; expected a folder with one folder per class"
        ) from None
    return sorted(name for name in names if not name.startswith("."))
