"""Every classification model of torchvision, by its name there."""

from __future__ import annotations

from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.nearest import suggestion
from xferpipe.zoo.anatomy import Anatomy, last_named
from xferpipe.zoo.normalisation import StandardisedConvolution, group_norm


def build(spec: ModelSpec, outputs: int) -> nn.Module:
    """Build a torchvision model with fresh weights.

    Raises:
        ValueError: torchvision has no such classification model.
    """
    from torchvision import models

    name = spec.architecture
    known = models.list_models(module=models)
    if name not in known:
        near = [one for one in known if one[:4] == name[:4]]
        raise ValueError(
            f"unknown architecture {name!r}{suggestion(name, known)}: torchvision has "
            f"{', '.join(near) or 'none that begins so'}; cifar_resnet<depth> and timm:<name> are "
            "allowed too"
        )
    options: dict[str, object] = {}
    if name in ("googlenet", "inception_v3"):
        # The auxiliary classifiers return more than logits in training.
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_") and spec.image_px is not None:
        options["image_size"] = spec.image_px
    if spec.norm != "batch":
        options["norm_layer"] = group_norm
    model = models.get_model(name, weights=None, num_classes=outputs, **options)
    if spec.norm == "group_ws":
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                # The subclass has the same state and another forward.
                module.__class__ = StandardisedConvolution
    return model


def anatomy(model: nn.Module, architecture: str) -> Anatomy:
    """Name the parts of a torchvision model.

    Raises:
        ValueError: It does not end in a linear layer.
    """
    classifier = last_named(model, (nn.Linear, nn.Conv2d))
    if not isinstance(model.get_submodule(classifier), nn.Linear):
        raise ValueError(
            f"{architecture} classifies by a convolution, so that it has no feature vector; choose "
            "a model that ends in a linear layer"
        )
    stem = next((name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)), "")
    last = last_named(model, nn.Conv2d) if stem else ""
    if last in ("", stem) or hasattr(model, "encoder") or _is_patch_embedding(model, stem):
        last = last_named(model, nn.Linear, outside=classifier.rpartition(".")[0] or classifier)
    residual = hasattr(model, "layer1")
    return Anatomy(
        head=classifier,
        classifier=classifier,
        stem=stem,
        stem_norm="bn1" if residual else _norm_after(model, stem),
        stem_pool="maxpool" if residual else "",
        global_pool=_global_pool(model),
        last_convolution=last,
        stages=_stages(model),
    )


def _is_patch_embedding(model: nn.Module, stem: str) -> bool:
    """Say whether the model is a transformer: its only convolutions cut patches."""
    return any(type(module).__name__.endswith("Attention") for module in model.modules()) and (
        len({name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)} - {stem}) == 0
    )


def _norm_after(model: nn.Module, stem: str) -> str:
    """Return the batch norm that follows the first convolution, if one does."""
    names = [name for name, m in model.named_modules() if not list(m.children())]
    follower = names[names.index(stem) + 1] if stem in names[:-1] else ""
    batch_norm = follower and isinstance(model.get_submodule(follower), nn.BatchNorm2d)
    return follower if batch_norm else ""


def _global_pool(model: nn.Module) -> str:
    """Return the pooling to one position, if there is such a module."""
    pool = getattr(model, "avgpool", None)
    one = isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size in (1, (1, 1))
    return "avgpool" if one else ""


def _stages(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Group the blocks: layers of a ResNet, blocks of an encoder, stretches between poolings."""
    if hasattr(model, "layer1"):
        return tuple((f"layer{i}",) for i in range(1, 5))
    if hasattr(model, "encoder"):
        return tuple(
            (f"encoder.layers.{name}",) for name, _ in model.encoder.layers.named_children()
        )
    features = getattr(model, "features", None)
    if features is None:
        return ()
    children = list(features.named_children())
    if any(name.startswith("denseblock") for name, _ in children):
        return tuple((f"features.{name}",) for name, _ in children if name.startswith("denseblock"))
    if not any(isinstance(child, nn.MaxPool2d) for _, child in children):
        return tuple((f"features.{name}",) for name, _ in children[1:])
    stages: list[tuple[str, ...]] = [()]
    for name, child in children:
        stages[-1] += (f"features.{name}",)
        if isinstance(child, nn.MaxPool2d):
            stages.append(())
    return tuple(stage for stage in stages if stage)
