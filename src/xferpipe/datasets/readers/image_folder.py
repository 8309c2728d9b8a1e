"""One folder per class, with or without train, validation and test folders above them."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import polars

from xferpipe.config.datasets import ImageFolder
from xferpipe.datasets.checks import SPLIT_WORDS, DatasetError, check_names, listed
from xferpipe.datasets.walk import files_below, is_hidden, is_image

#: Words that are those of splits whatever stands beside them: `valid` and `invalid` may be classes.
_SURE = {"train", "validation", "val", "test"}


def read(dataset: ImageFolder, *, root: Path | None, seed: int) -> polars.DataFrame:
    """List the images; classes are numbered in the order of their folders' names.

    Folders within a class folder belong to the class. Hidden names are left out.
    """
    root = Path(dataset.root if root is None else root)
    where = f"image folder {root}"
    splits = _splits(_folders(root), where)
    images = [name for name in files_below(root) if is_image(name)]
    found = [
        (path, class_name, split)
        for folder, split in splits.items()
        for class_name, path in _of_split(root, folder, images, where)
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
    found = [name for name in files_below(dataset.root) if is_image(name)]
    if not found:
        raise DatasetError(
            f"image folder {dataset.root}: no images (.jpg, .png, .tif, .webp and others); put "
            "them there, or correct 'root'"
        )
    return found


def passed_over(dataset: ImageFolder, *, root: Path | None) -> list[str]:
    """List the files in class folders whose names are not those of images."""
    root = Path(dataset.root if root is None else root)
    depth = 2 if any(_splits(_folders(root), "").values()) else 1
    return [name for name in files_below(root) if name.count("/") >= depth and not is_image(name)]


def _splits(top: list[str], where: str) -> dict[str, str | None]:
    """Return the split of each split folder; the root itself where there is none."""
    words = {name: SPLIT_WORDS[name.lower()] for name in top if name.lower() in SPLIT_WORDS}
    sure = any(name.lower() in _SURE for name in words)
    if not words or (set(words) != set(top) and not sure):
        return {"": None}
    if extra := sorted(set(top) - set(words)):
        raise DatasetError(
            f"{where}: split folders ({', '.join(words)}) beside other folders "
            f"({listed(extra)}); move the others away"
        )
    if len(set(words.values())) < len(words):
        raise DatasetError(f"{where}: two folders for one split ({', '.join(words)}); keep one")
    if "train" not in words.values():
        raise DatasetError(f"{where}: no train folder beside {', '.join(words)}; add it")
    return words


def _of_split(
    root: Path, split_folder: str, images: list[str], where: str
) -> list[tuple[str, str]]:
    """Return (class, path below the root) of every image of one split, by class and path."""
    start = f"{split_folder}/" if split_folder else ""
    own: dict[str, list[str]] = defaultdict(list)
    loose = []
    for path in images:
        if path.startswith(start):
            class_name, slash, _ = path.removeprefix(start).partition("/")
            (own[class_name] if slash else loose).append(path)
    if loose:
        raise DatasetError(
            f"{where}: {root / min(loose)} lies outside the class folders ({len(loose)} such "
            "images); move each into the folder of its class"
        )
    for class_name in _folders(root / split_folder):
        if class_name not in own:
            raise DatasetError(
                f"{where}: class folder {root / split_folder / class_name} is empty (no image "
                "that lies there alone); add images or remove the folder"
            )
    return [(class_name, path) for class_name in sorted(own) for path in sorted(own[class_name])]


def _folders(base: Path) -> list[str]:
    """Return the folders in a folder, sorted by name."""
    try:
        names = [item.name for item in os.scandir(base) if item.is_dir()]
    except OSError as error:
        raise DatasetError(
            f"{base}: {error.strerror}; expected a folder with one folder per class"
        ) from None
    return sorted(name for name in names if not is_hidden(name))
