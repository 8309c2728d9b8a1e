"""Writing of tensors: atomic, with the running job's stamp in the file's header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xferpipe.records.parquet import atomic_path
from xferpipe.records.stamp import metadata_of_job

if TYPE_CHECKING:
    import torch


def save_tensors(
    tensors: Mapping[str, torch.Tensor], path: Path | str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors.

    Args:
        tensors: On any device; those that share memory are an error.
        path: File to write; it appears when it is whole.
        metadata: Texts to write beside the stamp.
    """
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={**(metadata or {}), **metadata_of_job()})


def copy_output(source: Path, path: Path) -> None:
    """Copy a table or tensors that another job wrote; the copy carries the running job's stamp."""
    if source.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(source, framework="pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            save_tensors(tensors, path, file.metadata())
        return
    import polars
    import pyarrow.parquet

    from xferpipe.records.parquet import write_table

    table = pyarrow.parquet.read_metadata(source).metadata[b"xferpipe.table"].decode()
    write_table(table, polars.read_parquet(source, glob=False), path)
