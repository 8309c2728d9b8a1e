"""Which published weights are on this machine, by the folders of the libraries' caches."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from xferpipe.config.catalogue import TIMM, Listed

#: Files that hold the weights of a repository of Hugging Face.
_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip*", "*.safetensors", "*.bin", "*.pth")


def torch_checkpoints() -> Path:
    """Return the folder of torch's hub that torchvision's weights lie in."""
    home = os.environ.get("TORCH_HOME") or _cache() / "torch"
    return Path(home, "hub", "checkpoints").expanduser()


def hugging_face_hub() -> Path:
    """Return the folder of Hugging Face's hub that timm's weights lie in."""
    home = os.environ.get("HF_HOME") or _cache() / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()


def is_cached(row: Listed) -> bool:
    """Tell whether the weights of a model are here, where they are looked for."""
    name = row.file or ""
    if not row.architecture.startswith(TIMM):
        return name in _names(torch_checkpoints())
    own = f"{row.architecture.removeprefix(TIMM)}.{row.weights}.safetensors"
    if own in _names(torch_checkpoints()):
        return True
    if "/" not in name:
        return name in _names(torch_checkpoints())
    folder = f"models--{name.replace('/', '--')}"
    if folder not in _names(hugging_face_hub()):
        return False
    snapshots = hugging_face_hub() / folder / "snapshots"
    # A link to a file that was not fetched whole leads nowhere.
    return any(file.exists() for kind in _FILES for file in snapshots.glob(f"*/{kind}"))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def _names(folder: Path) -> frozenset[str]:
    return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()
