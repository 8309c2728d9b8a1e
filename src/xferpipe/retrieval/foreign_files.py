"""Features as other programs keep them: .npz, .pt and .mat, without running anything in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import polars

ENDINGS = (".npz", ".pt", ".pth", ".mat")
#: What one side's arrays are called where a file holds both sides: the Market-1501 evaluation of
#: PyTorch and Matlab has `gallery_f`, `gallery_label`, `gallery_cam`; torchreid `gf`, `g_pids`.
_SIDED = {
    "feature": ("{}_f", "{}_feature", "{}_features", "{}_feat", "{}_embedding", "{0[0]}f"),
    "identity": (
        "{}_label",
        "{}_labels",
        "{}_id",
        "{}_identity",
        "{}_pid",
        "{}_pids",
        "{0[0]}_pids",
    ),
    "camera": ("{}_cam", "{}_cams", "{}_camera", "{}_camid", "{}_camids", "{0[0]}_camids"),
    "sequence": ("{}_sequence", "{}_seq"),
    "path": ("{}_path", "{}_paths", "{}_img_path"),
}
#: What they are called where it holds one side, beside the names of columns.
_PLAIN = {"feature": ("f",), "identity": ("label", "labels", "id", "ids"), "camera": ("cams",)}


class ForeignFileError(ValueError):
    """A file of another program cannot be used; the message has what is wrong."""


def foreign(
    path: Path, side: str, aliases: Mapping[str, tuple[str, ...]]
) -> tuple[numpy.ndarray, polars.DataFrame]:
    """Read features and labels of one side.

    Args:
        path: .npz (no pickled objects), .pt or .pth (a dict of tensors and lists, no other
            objects) or .mat (before version 7.3).
        side: "query" or "gallery", where the file holds both.
        aliases: Our names of columns -> those of other programs.
    Returns:
        Features (n, d) and the columns of labels that are there, under our names.
    Raises:
        ForeignFileError: The file cannot be read, or lacks features.
    """
    entries = _entries(path)
    names = {name.lower(): name for name in entries}
    found = {}
    for ours in ("feature", "identity", "camera", "sequence", "path"):
        sided = [form.format(side) for form in _SIDED[ours]]
        for known in (sided, (ours,), aliases.get(ours, ()), _PLAIN.get(ours, ())):
            mine = [names[name] for name in known if name in names]
            if mine and ours not in found:
                found[ours] = mine[0]
    if "feature" not in found:
        held = ", ".join(sorted(entries)) or "nothing"
        raise ForeignFileError(
            f"{path}: no features of the {side} (it holds {held}); "
            f"expected {side}_f, {side}_label and {side}_cam, or feature, identity and camera"
        )
    features = numpy.asarray(_array(path, found["feature"], entries))
    labels = {}
    for ours, name in found.items():
        if ours != "feature":
            values = _array(path, name, entries).ravel()
            if len(values) != len(features):
                raise ForeignFileError(
                    f"{path}: {found['feature']} has {len(features)} rows but {name} has "
                    f"{len(values)}; write both from one list of images"
                )
            labels[ours] = polars.Series(ours, _words(values))
    return features, polars.DataFrame(labels)


def _entries(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".npz":
            with numpy.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        if path.suffix == ".mat":
            import scipy.io

            found = scipy.io.loadmat(path, chars_as_strings=True)
            return {name: value for name, value in found.items() if not name.startswith("__")}
        import torch

        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # scipy and torch raise half a dozen types for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "HDF reader" in str(error):
            reason = "version 7.3, which is HDF5; in Matlab, save it with '-v7'"
        raise ForeignFileError(f"{path}: cannot be read ({reason})") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ForeignFileError(
            f"{path}: holds {type(found).__name__}; expected a dict of tensors and lists by name"
        )
    return found


def _array(path: Path, name: str, entries: Mapping[str, Any]) -> numpy.ndarray:
    value = entries[name]
    if hasattr(value, "detach"):
        value = value.detach()
        value = value.float() if value.dtype.itemsize == 2 and value.is_floating_point() else value
        value = value.numpy()
    try:
        found = numpy.asarray(value)
    except ValueError:
        found = numpy.empty(0, dtype=object)
    if found.dtype.kind == "O" and all(len(numpy.ravel(one)) == 1 for one in found.ravel()):
        found = numpy.array([numpy.ravel(one)[0] for one in found.ravel()])  # cells of words
    if found.dtype.kind not in "fiubU":
        raise ForeignFileError(
            f"{path}: {name} holds {found.dtype}; expected numbers, or names for labels"
        )
    return found


def _words(values: numpy.ndarray) -> numpy.ndarray | list[str]:
    return [word.strip() for word in values.tolist()] if values.dtype.kind == "U" else values
