"""What trying an architecture on torch's meta device tells, where nothing is computed."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from xferpipe.config.catalogue import TIMM, Listed
from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import build_model, classifier_of

#: Steps between sides that are tried, the least first: patches, and windows of patches.
STEPS = (1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 64)


def tried(row: Listed) -> dict[str, Any]:
    """Return `parameters`, `fixed`, `side_step` and `problem` of an architecture.

    Args:
        row: What the library says of its usual weights.
    """
    unknown = {"parameters": None, "fixed": False, "side_step": None}
    if row.problem:
        return unknown | {"problem": row.problem}
    try:
        model = _built(row.architecture)
        found = {"parameters": _count(model) - _count(classifier_of(model)), "problem": None}
    except Exception as error:  # libraries refuse in many ways
        words = (str(error).splitlines() or [type(error).__name__])[0]
        return unknown | {"problem": words.removeprefix(f"{row.architecture} ")}
    patch = _patch(model)
    for step in (step for step in STEPS if step % patch == 0):
        if all(_runs(model, side) for side in _sides(row.side, step)):
            return found | {"fixed": False, "side_step": step}
    # Each of these is built anew: only what patches and windows are like.
    for step in sorted({patch, *(step for step in (14, 16, 32) if step % patch == 0)}):
        if _is_rebuilt(row.architecture, _sides(row.side, step)[1]):
            return found | {"fixed": True, "side_step": step}
    return found | {"fixed": True, "side_step": None}


def _sides(side: int, step: int) -> tuple[int, int]:
    """Return the next multiple of a step above a side, and one that is half as large again."""
    return (side // step + 1) * step, (side * 3 // 2 // step + 1) * step


def _built(architecture: str, side: int | None = None) -> nn.Module:
    usual = (0.5, 0.5, 0.5)
    spec = ModelSpec(architecture=architecture, width=16, mean=usual, std=usual, image_px=side)
    try:
        with torch.device("meta"):
            return build_model(spec, 1).eval()
    except ValueError:
        raise
    except Exception:
        # Some draw their weights in a way that the meta device knows nothing of.
        return build_model(spec, 1).eval().to("meta")


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _patch(model: nn.Module) -> int:
    """Return the side of a patch: some models cut what is no multiple of it off, silently."""
    size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    size = getattr(model, "patch_size", 1) if size is None else size
    size = max(size) if isinstance(size, tuple | list) else size
    return size if isinstance(size, int) and size > 0 else 1


def _runs(model: nn.Module, side: int) -> bool:
    try:
        with torch.no_grad():
            model(torch.empty(1, 3, side, side, device="meta"))
    except Exception:
        return False
    return True


def _is_rebuilt(architecture: str, side: int) -> bool:
    """Tell whether a model can be built for a side, takes the weights of its own, and runs."""
    try:
        model = _rebuilt(architecture, side)
    except Exception:
        return False
    return _runs(model, side)


def _rebuilt(architecture: str, side: int) -> nn.Module:
    if not architecture.startswith(TIMM):
        # Of torchvision's models only its transformers are built for a side, by our own hand:
        # `xferpipe.zoo.origins.torchvision_weights` resamples their weights.
        return _built(architecture, side)
    import timm

    name = architecture.removeprefix(TIMM)
    with torch.device("meta"):
        # timm's own filter of weights runs: it resamples what depends on the side, or fails to.
        overlay = {"state_dict": _state(name)}
        options = {"pretrained_cfg_overlay": overlay, "img_size": side}
        return timm.create_model(name, pretrained=True, **options).eval()


@functools.lru_cache(maxsize=1)
def _state(name: str) -> dict[str, torch.Tensor]:
    import timm

    return timm.create_model(name, pretrained=False).state_dict()
