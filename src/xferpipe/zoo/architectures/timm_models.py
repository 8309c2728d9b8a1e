"""Every model of timm, as `timm:<name>`: BiT is `timm:resnetv2_50x1_bit` and its kind."""

from __future__ import annotations

from torch import nn

from xferpipe.config.catalogue import TIMM
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.nearest import suggestion
from xferpipe.zoo.anatomy import Anatomy, last_named

#: Widths of the projections into a space shared with texts that timm's image-text models (CLIP and
#: its kind) have in the place of a classifier.
_PROJECTIONS = (384, 512, 640, 768, 1024, 1152, 1280)


def build(spec: ModelSpec, outputs: int) -> nn.Module:
    """Build a timm model with fresh weights.

    Raises:
        ValueError: timm has no such model.
    """
    import timm

    name = spec.architecture.removeprefix(TIMM)
    if not timm.is_model(name):
        near = suggestion(name, timm.list_models())
        raise ValueError(f"unknown architecture 'timm:{name}'{near}; see timm.list_models()")
    return timm.create_model(name, pretrained=False, num_classes=outputs, **side_option(spec))


def side_option(spec: ModelSpec) -> dict[str, int]:
    """Return the option of `timm.create_model` that builds a model for the side that it is fed.

    It is there for architectures that timm calls of fixed input size, and where a side is known;
    weights of another side are resampled when timm loads them.
    """
    import timm

    config = timm.get_pretrained_cfg(spec.architecture.removeprefix(TIMM))
    fixed = config is not None and config.fixed_input_size
    return {"img_size": spec.image_px} if fixed and spec.image_px is not None else {}


def is_projection(architecture: str, outputs: int) -> bool:
    """Tell whether what stands in a classifier's place is an image-text model's projection.

    Args:
        architecture: `timm:<name>`; of other families there is none.
        outputs: Width of it.
    """
    if outputs not in _PROJECTIONS or not architecture.startswith(TIMM):
        return False
    import timm

    name = architecture.removeprefix(TIMM).partition(".")[0]
    published = [timm.get_pretrained_cfg(full) for full in timm.list_pretrained(f"{name}.*")]
    return outputs in [config.num_classes for config in published]


def anatomy(model: nn.Module, architecture: str) -> Anatomy:
    """Name the parts of a timm model, from its own description.

    Raises:
        ValueError: It has several classifiers, or none.
    """
    classifier = model.default_cfg["classifier"]
    if not classifier or (isinstance(classifier, str) and not _has(model, classifier)):
        raise ValueError(f"{architecture} has no classifier that could be replaced")
    if not isinstance(classifier, str):
        raise ValueError(f"{architecture} has several classifiers: {', '.join(classifier)}")
    stem = model.default_cfg.get("first_conv") or ""
    stem = stem if isinstance(stem, str) else stem[0]
    outside = classifier.rpartition(".")[0] or classifier
    try:
        last = last_named(model, nn.Conv2d, outside=outside)
    except ValueError:
        last = stem
    if last == stem:
        last = last_named(model, nn.Linear, outside=outside)
    # HRNet's `stages` is a method.
    names = ("stages", "blocks", "layers")
    body = next((one for one in names if isinstance(getattr(model, one, None), nn.Module)), "")
    if body:
        stages = tuple((f"{body}.{name}",) for name, _ in getattr(model, body).named_children())
    else:
        stages = tuple((f"layer{i}",) for i in range(1, 5) if hasattr(model, f"layer{i}"))
    return Anatomy(
        head=classifier,
        classifier=classifier,
        stem=stem,
        stem_norm="bn1" if hasattr(model, "bn1") and hasattr(model, "layer1") else "",
        stem_pool="maxpool" if hasattr(model, "maxpool") else "",
        global_pool="",
        last_convolution=last,
        stages=stages,
    )


def _has(model: nn.Module, name: str) -> bool:
    return any(name == one for one, _ in model.named_modules())
