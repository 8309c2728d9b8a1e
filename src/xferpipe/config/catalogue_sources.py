"""What torchvision and timm say of their pretrained models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from xferpipe.config.catalogue import TIMM, Listed

_CARDS = "https://huggingface.co/timm/"
_CLIP = f"{_CARDS}vit_base_patch16_clip_224.laion2b_ft_in12k_in1k"
#: Words of timm's tags that name data -> the data, and a model card by timm's author that says so
#: of a tag with this word. Other words are not read: what they stand for is stated nowhere.
DATA = {
    "in1k": ("ImageNet-1k", f"{_CARDS}vit_base_patch16_224.augreg_in21k_ft_in1k"),
    "in21k": ("ImageNet-21k", f"{_CARDS}vit_base_patch16_224.augreg_in21k_ft_in1k"),
    "in22k": ("ImageNet-22k", f"{_CARDS}swin_base_patch4_window7_224.ms_in22k_ft_in1k"),
    "in12k": ("ImageNet-12k", _CLIP),
    "laion2b": ("LAION-2B", _CLIP),
    "lvd142m": ("LVD-142M", f"{_CARDS}vit_base_patch14_dinov2.lvd142m"),
    "webli": ("WebLI", f"{_CARDS}ViT-L-16-SigLIP-256"),
    "ig1b": ("Instagram-1B", f"{_CARDS}resnext101_32x16d.fb_swsl_ig1b_ft_in1k"),
    "jft": ("JFT-300M", f"{_CARDS}tf_efficientnet_b0.ns_jft_in1k"),
    "fcmae": ("ImageNet-1k", f"{_CARDS}convnextv2_base.fcmae_ft_in1k"),
}
#: What weights of Alibaba's MIIL mean by `in21k`.
_MIIL = ("ImageNet-21K-P", f"{_CARDS}tresnet_m.miil_in21k")
#: Words behind `ft` that name data which no card was found for: such a tag is read in part only.
_UNREAD = re.compile(r"inat|ig|yfcc|laion|coco|ade")
_INTERPOLATIONS = ("bilinear", "bicubic")


def described() -> Iterator[Listed]:
    """Yield a row for each set of weights, the usual ones of an architecture first."""
    yield from _of_torchvision()
    yield from _of_timm()


def data_of_tag(tag: str) -> tuple[str | None, str | None]:
    """Read what a tag of timm says of the data: `a_b_ft_c_d` is trained on a, b, then on c, d.

    Returns:
        Names of the data in their order, and where it is stated what the words mean; (None, None)
        where a stage of the training names no data that is known.
    """
    known = DATA | ({"in21k": _MIIL} if tag.startswith("miil_") else {})
    names: dict[str, str] = {}
    for stage in tag.split("_ft_"):
        words = stage.split("_")
        read = [known[word] for word in words if word in known]
        unread = [word for word in words if word not in known and _UNREAD.match(word)]
        if not read or unread:
            return None, None
        names |= dict(read)
    return ", ".join(names), " ".join(dict.fromkeys(names.values()))


def _of_torchvision() -> Iterator[Listed]:
    from torchvision import models

    for name in models.list_models(module=models):
        yield from torchvision_rows(name)


def torchvision_rows(name: str) -> Iterator[Listed]:
    """Yield the rows of a torchvision model, that of its newest weights first."""
    from torchvision import models

    source = f"torchvision {version('torchvision')}"
    known = models.get_model_weights(name)
    for weights in sorted(known, key=lambda one: one is not known.DEFAULT):
        how, meta = weights.transforms(), weights.meta
        side, resize, least = how.crop_size[0], how.resize_size[0], max(meta["min_size"])
        swag = "SWAG" in weights.name
        yield _row(
            architecture=name,
            weights=weights.name,
            usual=weights is known.DEFAULT,
            side=side,
            least_side=least if 1 < least < side else None,
            mean=tuple(how.mean),
            std=tuple(how.std),
            # Downwards, so that the side divided by it is the resized side or a little more.
            crop_pct=int(1e6 * side / resize) / 1e6,
            interpolation=how.interpolation.value,
            data=("SWAG, " if swag else "") + "ImageNet-1k",
            licence=meta.get("license"),
            file=weights.url.rpartition("/")[2],
            problem=None if meta["categories"] else "brings no classifier with its weights",
            source=source,
            data_source=source,
            licence_source=source if meta.get("license") else None,
        )


def _of_timm() -> Iterator[Listed]:
    import timm

    for name in timm.list_models():
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
        usual = timm.get_pretrained_cfg(name, allow_unregistered=True)
        first = usual.tag if usual is not None and usual.tag in tags else (*tags, "")[0]
        for tag in sorted(tags, key=lambda one: one != first) or [""]:
            config = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
            if config is not None:
                yield timm_row(name, tag, config, usual=tag == first)


def timm_row(name: str, tag: str, config: Any, *, usual: bool) -> Listed:
    """Return the row of a timm model and tag by its pretrained configuration; nothing is tried."""
    source = f"timm {version('timm')}"
    channels, height, width = config.input_size
    problem = None
    if height != width or channels != 3:
        problem = f"takes images of {height} x {width} pixels and {channels} channels, not squares"
    licence = None if config.license in (None, "unknown") else config.license
    least = config.min_input_size
    data, data_source = data_of_tag(tag)
    return _row(
        architecture=f"{TIMM}{name}",
        weights=tag,
        usual=usual,
        side=height,
        fixed=config.fixed_input_size,
        least_side=None if least is None else max(least[1:]),
        mean=tuple(config.mean),
        std=tuple(config.std),
        crop_pct=config.crop_pct,
        interpolation=config.interpolation if config.interpolation in _INTERPOLATIONS else None,
        data=data,
        licence=licence,
        file=config.hf_hub_id or (config.url or "").rpartition("/")[2] or None,
        problem=problem,
        source=source,
        data_source=data_source,
        licence_source=source if licence else None,
    )


def _row(**known: Any) -> Listed:
    """Return a row; what is not known is empty, and what only trying tells is taken for granted."""
    empty = dict.fromkeys(Listed.__dataclass_fields__) | {"fixed": False, "side_step": 1}
    return Listed(**empty | known)
