"""Torch files, read without running anything that is in them: tensors, and what names them."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from pickletools import genops
from typing import BinaryIO

import torch

from xferpipe.zoo.weights import WeightsError

#: What training programs put beside the weights: classes, or packages of them. They are neither
#: imported nor run: a `_Beside` or an empty mapping of torch's reader stands in for each.
_BESIDE = (
    "argparse.Namespace",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "yacs.config",
    "fvcore.common.config",
    "typing.Any",
)
#: Those of them that are dictionaries.
_MAPPINGS = ("AttributeDict", "CfgNode")
#: How deep mappings stand in each other where weights are looked for.
_DEEPEST = 5
#: What a pickled model has among its classes, whatever its own is.
_LAYERS = "torch.nn.modules."


class _Beside:
    """Stands for something beside the weights; takes what it is given and does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Leave the state out."""


def read_torch_file(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Read the groups of tensors of a torch file.

    Args:
        path: A file that `torch.save` wrote, of any training program.
    Returns:
        State dicts by where they stand in the file: "" for a file that is one itself,
        "state_dict", "model_ema", "callbacks.ema" ... Entries that are no tensors are left out.
    Raises:
        WeightsError: It holds code or a whole model, is damaged, or has no tensors under names.
    """
    try:
        names = globals_of(path)
        allowed = [_stand_in(name) for name in names if _is_beside(name)]
        # Opened here: by the name torch would take a file of another ending for another form.
        with torch.serialization.safe_globals(allowed), path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for files it will not read
        raise WeightsError(f"{path}: {_refusal(path, error)}") from None
    groups = {
        where: tensors for where, values in _mappings(content) if (tensors := _tensors(values))
    }
    if not groups:
        kind = type(content).__name__
        inside = (
            f" of {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else ""
        )
        raise WeightsError(
            f"{path}: expected tensors under their names, found a {kind}{inside}; save the state "
            "dict of the model"
        )
    return groups


def globals_of(path: Path) -> set[str]:
    """Return the classes and functions that the pickles in a torch file name; none is imported."""
    names: set[str] = set()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for inside in archive.namelist():
                if inside.endswith("/data.pkl"):
                    with archive.open(inside) as file:
                        names.update(_globals(file))
        return names
    with path.open("rb") as file, suppress(ValueError):
        # A magic number, the version, the system; then what was saved. A plain pickle ends sooner.
        for _ in range(4):
            names.update(_globals(file))
    return names


def _globals(file: BinaryIO) -> Iterator[str]:
    for opcode, argument, _ in genops(file):
        if opcode.name == "GLOBAL":
            yield argument.replace(" ", ".")


def _is_beside(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in _BESIDE)


def _stand_in(name: str) -> tuple[Callable, str]:
    mapping = name.endswith(_MAPPINGS)
    return (OrderedDict if mapping else _Beside, name)


def _refusal(path: Path, error: Exception) -> str:
    """Say why torch did not read a file, and what to do."""
    names = set()
    with suppress(Exception):  # A pickle that ends early, or is none.
        names = globals_of(path)
    if any(name.startswith(_LAYERS) for name in names):
        return (
            "holds a whole model, not its weights: opening it would run code, so it is not opened. "
            "Where it was made, save its state dict: torch.save(model.state_dict(), 'weights.pth')"
        )
    named = re.search(r"GLOBAL (\S+)", str(error))
    why = f"it names {named[1]}" if named else type(error).__name__
    cure = "Where it was made, save" if named else "If it is truncated, copy it again; else save"
    return (
        f"cannot be read as tensors alone ({why}); nothing else is unpickled. {cure} the state "
        "dict alone, best as safetensors"
    )


def _mappings(content: object, where: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping]]:
    """Yield every mapping within mappings, by the way to it; a file may hold itself."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    yield where, content
    for key, value in content.items():
        yield from _mappings(value, f"{where}.{key}" if where else str(key), depth + 1)


def _tensors(values: Mapping) -> dict[str, torch.Tensor]:
    return {
        name: value
        for name, value in values.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
