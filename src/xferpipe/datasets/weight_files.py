"""Files of weights as people have them: what a file is by its bytes, and which files belong to it.

Nothing is unpickled and no library of tensors is loaded, so that a plan can look too.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Literal

#: Ending of the list of the files that sharded weights consist of.
INDEX = ".index.json"
#: Endings of files of weights that can be read.
SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt", ".bin", ".ckpt")
#: Names that a folder's weights have, in the order they are looked for.
_USUAL = ("model.safetensors", "pytorch_model.bin")
#: Bytes of the longest header that safetensors reads; a damaged length may be gigabytes.
_LONGEST_HEADER = 100_000_000
#: First byte of a pickle: how `torch.save` began a file until 2020.
_PICKLE = b"\x80"
_CONVERT = "convert them to safetensors, or to a torch file, with the program that they are of"
#: First bytes -> what such a file is, and what to do.
_KNOWN = (
    (
        b"version https://git-lfs.github.com/spec/",
        "is a Git LFS pointer and not the weights; run `git lfs pull` in its repository",
    ),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, as Keras and TensorFlow write weights; {_CONVERT}"),
    (b"\x93NUMPY", f"is a NumPy array (.npy); {_CONVERT}"),
    (b"GGUF", "is a GGUF file of a language model; take the weights as safetensors"),
    (b"\x1f\x8b", "is compressed (gzip); unpack it"),
    (b"BZh", "is compressed (bzip2); unpack it"),
    (b"\xfd7zXZ\x00", "is compressed (xz); unpack it"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd); unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "is compressed (7z); unpack it"),
    (b"model_checkpoint_path:", f"is the list of a TensorFlow checkpoint; {_CONVERT}"),
)
_EXPECTED = "expected safetensors, or a state dict that torch.save wrote"


class WeightFileError(ValueError):
    """A file is no weights that can be read; the message says what it is and what to do."""


def form_of(path: Path) -> Literal["safetensors", "torch"]:
    """Tell from its bytes how a file of weights is read, whatever its name says.

    Raises:
        WeightFileError: It is not there, or something else: says what it is.
    """
    if not path.is_file():
        raise WeightFileError(f"{path}: no such file; put the weights there or correct 'name'")
    with path.open("rb") as file:
        start = file.read(512)
    # Eight bytes of the header's length, and JSON. First, for such a length may look like anything.
    if start[5:9] == b"\0\0\0{":
        _check_safetensors(path, int.from_bytes(start[:8], "little"))
        return "safetensors"
    if (words := _something_else(path, start)) is not None:
        raise WeightFileError(f"{path}: {words}")
    if start.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return "torch"
    if start.startswith(_PICKLE):
        return "torch"
    raise WeightFileError(f"{path}: is no file of weights that is known; {_EXPECTED}")


def files_of(path: Path) -> list[Path]:
    """Return the files that weights consist of.

    Args:
        path: A file; the index of sharded weights, `*.index.json`; or a folder with either.
    Returns:
        The file alone; or the index, and behind it the shards that it names, in its order.
    Raises:
        WeightFileError: An index is damaged or names files outside its folder; a folder has no
            weights, or several.
    """
    if path.is_dir():
        path = _in_folder(path)
    if not path.name.endswith(INDEX) or not path.is_file():
        return [path]
    try:
        shards = list(dict.fromkeys(json.loads(path.read_text())["weight_map"].values()))
        inside = bool(shards) and all(Path(name).name == name for name in shards)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        inside = False
    if not inside:
        raise WeightFileError(
            f"{path}: is no index of sharded weights; expected JSON with a weight_map from tensors "
            "to files beside it"
        )
    return [path, *(path.parent / name for name in shards)]


def tensor_files_of(path: Path) -> list[Path]:
    """Return the files that hold the tensors: those of `files_of` without the index."""
    return [file for file in files_of(path) if not file.name.endswith(INDEX) or not file.is_file()]


def fault_of(path: Path) -> str | None:
    """Say why weights cannot be read as they lie there; None where they may be.

    Args:
        path: As for `files_of`.
    """
    try:
        for file in tensor_files_of(path):
            form_of(file)
    except (WeightFileError, OSError) as error:
        return str(error)
    return None


def _in_folder(folder: Path) -> Path:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    found = [name for name in names if name.endswith(INDEX)]
    found = found or [name for name in _USUAL if name in names][:1]
    found = found or [name for name in names if name.endswith(SUFFIXES)]
    if len(found) != 1:
        raise WeightFileError(
            f"{folder}: expected a folder with one file of weights, or one *{INDEX}; found "
            f"{', '.join(found[:5]) or 'none'}; name the file"
        )
    return folder / found[0]


def _something_else(path: Path, start: bytes) -> str | None:
    """Say what a file is that no reader takes; None where one may."""
    if not start:
        return "is empty; copy it again, or download it again"
    for beginning, words in _KNOWN:
        if start.startswith(beginning):
            return words
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return "is a web page and not the weights: a download went wrong; download it again"
    if text.startswith((b"{", b"[")):
        return f"is a JSON text; {_EXPECTED}"
    if start[257:262] == b"ustar":
        return "is a tar archive; unpack it"
    if start[4:8] == b"TFL3":
        return f"is a TensorFlow Lite model; {_CONVERT}"
    # Protocol buffers of a model: version of the format, then producer, graph or operator sets.
    if start[0] == 8 and start[2:3] in (b"\x12", b"\x3a", b"\x42"):
        kind = "a TensorFlow SavedModel" if start[1] < 3 else "an ONNX model"
        return f"is {kind}; {_CONVERT}"
    # Only the last bytes of TensorFlow's table of tensors are its own.
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 8, 0))
        if file.read() == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
            return f"is the index of a TensorFlow checkpoint; {_CONVERT}"
    return None


def _check_zip(path: Path) -> None:
    """Refuse zip archives that torch.save did not write, and those that end early."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise WeightFileError(
            f"{path}: is truncated or damaged: it begins as a torch file and ends early; copy it "
            "again, or download it again"
        ) from None
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        words = (
            "is a TorchScript archive, which holds code; save the state dict of its model: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    elif "data.pkl" in last:
        return
    elif any(name.endswith(".npy") for name in names):
        words = f"is a NumPy archive (.npz), as JAX programs write weights; {_CONVERT}"
    elif "model.weights.h5" in last:
        words = f"is a Keras model; {_CONVERT}"
    else:
        words = f"is a zip archive without a torch file in it; unpack it; {_EXPECTED}"
    raise WeightFileError(f"{path}: {words}")


def _check_safetensors(path: Path, length: int) -> None:
    """Refuse safetensors files that are shorter than their header says, and damaged headers."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            file.seek(8)
            known = 8 + length <= size and length <= _LONGEST_HEADER
            header = json.loads(file.read(length)) if known else None
        ends = [
            entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
        ]
        whole = 8 + length + max(ends, default=0) == size
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise WeightFileError(
            f"{path}: is truncated or damaged: expected a safetensors file as long as its header "
            f"says, found {size} bytes; copy it again, or download it again"
        )
