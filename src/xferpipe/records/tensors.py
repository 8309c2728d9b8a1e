"""Tensors on disk: written atomically with the job's stamp; read whole or refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferpipe.records.parquet import RecordError, atomic_path
from xferpipe.records.stamp import metadata_of_job

if TYPE_CHECKING:
    import torch


def save_tensors(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], *, path: Path | str
) -> None:
    """Write tensors as safetensors.

    Args:
        tensors: On any device; those that share memory are an error.
        metadata: Texts to write beside the stamp.
        path: File to write; it appears when it is whole.
    """
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={**metadata, **metadata_of_job()})
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Put a header's texts in order: safetensors writes them in another one each time."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise RecordError(f"{path}: its header grew from {length} to {len(text)} bytes")
        file.seek(8)
        file.write(text.ljust(length))


def copy_tensors(source: Path, path: Path) -> None:
    """Copy a file of tensors that another job wrote; the copy carries the running job's stamp."""
    save_tensors(*read_tensors(source, framework="pt"), path=path)


def read_tensors(path: Path | str, *, framework: str = "np") -> tuple[dict[str, Any], dict]:
    """Read every tensor of a safetensors file.

    Args:
        path: The file.
        framework: "np" for arrays, "pt" for torch's tensors.
    Returns:
        Tensors by name; metadata, text by name.
    Raises:
        RecordError: There is no such file, or it is no whole safetensors file.
    """
    with _opened(path, framework) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_metadata(path: Path | str) -> dict[str, str]:
    """Read the metadata of a safetensors file, and none of its tensors.

    Raises:
        RecordError: As `read_tensors`.
    """
    with _opened(path, "np") as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path | str, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; run the rule that writes it") from None
    # The others are of types that this version of numpy or torch does not have.
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError) as error:
        raise RecordError(
            f"{path}: expected a safetensors file ({error}); copy it again, or have the job that "
            "wrote it make it anew"
        ) from None
