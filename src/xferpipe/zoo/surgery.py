"""Heads and other changes of a model's structure, from its configuration."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from xferpipe.config.surgery import Surgery
from xferpipe.seeding import stream
from xferpipe.zoo.anatomy import set_module
from xferpipe.zoo.build import anatomy_of, feature_dimension, outputs_of, replace_classifier
from xferpipe.zoo.nearest_neighbours import NearestNeighbours
from xferpipe.zoo.updates import add_adapters, add_lora

#: Parts that are in a saved model's structure; updates are merged before it is saved.
STRUCTURAL = ("head", "head_width", "last_stride", "stem", "pooling")


class GeneralisedMean(nn.Module):
    """Generalised-mean pooling with a trained exponent.

    Source:
        Radenovic et al., TPAMI 2018.
    """

    def __init__(self, exponent: float = 3.0, smallest: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.smallest = smallest

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (mean x^p)^(1/p) over positions, float (n, d, 1, 1), of maps (n, d, h, w)."""
        powers = maps.clamp(min=self.smallest).pow(self.exponent)
        return powers.mean((-2, -1), keepdim=True).pow(1 / self.exponent)


def operate(model: nn.Module, surgery: Surgery | None, *, outputs: int, seed: int) -> None:
    """Change a model in place and give it a fresh classifier.

    Args:
        model: A model of `build_model`, perhaps operated on before.
        surgery: What to change; None changes the classifier alone.
        outputs: Classes of the new classifier.
        seed: New layers are drawn from the stream (seed, "surgery") and (seed, "classifier").
    Raises:
        ValueError: The model has no part that an option asks for.
    """
    surgery = surgery or Surgery()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "surgery"))
        restructure(model, {name: getattr(surgery, name) for name in STRUCTURAL})
        if surgery.knn is not None:
            ask_neighbours(model, surgery.knn.model_dump(), outputs=outputs)
            return
        replace_classifier(model, outputs, seed=seed, zero=surgery.zero_head)
        if surgery.lora is not None:
            add_lora(model, surgery.lora)
        if surgery.adapters:
            add_adapters(model)


def ask_neighbours(model: nn.Module, knn: dict[str, Any], *, outputs: int) -> None:
    """Put a vote of training images in the place of the classifier, and note it.

    Args:
        model: A model of `build_model`.
        knn: Fields of block `knn` of a surgery.
        outputs: Classes.
    """
    vote = NearestNeighbours(feature_dimension(model), outputs, **knn)
    set_module(model, anatomy_of(model).classifier, vote)
    model.surgery = {**getattr(model, "surgery", {}), "knn": knn}


def restructure(model: nn.Module, parts: dict[str, object]) -> None:
    """Apply the structural part of a surgery and note it in `model.surgery`."""
    done = dict(getattr(model, "surgery", {}))
    if (stride := parts.get("last_stride")) is not None:
        _last_stride(model, int(stride))
        done["last_stride"] = stride
    if parts.get("stem") is not None and "stem" not in done:
        _small_image_stem(model)
        done["stem"] = parts["stem"]
    if parts.get("pooling") is not None and "pooling" not in done:
        pool = anatomy_of(model).global_pool
        if not pool:
            raise ValueError(f"pooling: {type(model).__name__} has no global pooling to replace")
        set_module(model, pool, GeneralisedMean())
        done["pooling"] = parts["pooling"]
    if (head := parts.get("head")) is not None:
        width = int(parts.get("head_width") or 512)
        _head(model, str(head), width)
        done |= {"head": head, "head_width": width}
    model.surgery = done


def _head(model: nn.Module, head: str, width: int) -> None:
    anatomy = anatomy_of(model)
    outputs = max(outputs_of(model), 1)
    old = model.get_submodule(anatomy.head)
    layers = list(old.children())
    first = layers[0] if layers else old
    features = feature_dimension(model)
    if isinstance(first, nn.Linear | nn.BatchNorm1d):
        features = getattr(first, "in_features", None) or first.num_features
    if isinstance(first, nn.Conv2d):
        if head == "linear":
            # It is linear as it stands; its caller gives it fresh weights.
            return
        raise ValueError(
            f"head: {type(model).__name__} classifies by a convolution; allowed for it: linear"
        )
    if head == "fc512":
        new = nn.Sequential(
            OrderedDict(
                fc=nn.Linear(features, width),
                bn=nn.BatchNorm1d(width),
                relu=nn.ReLU(),
                classifier=nn.Linear(width, outputs),
            )
        )
        model.anatomy = anatomy.with_head("classifier")
    elif head == "bnneck":
        new = nn.Sequential(
            OrderedDict(
                bn=nn.BatchNorm1d(features), classifier=nn.Linear(features, outputs, bias=False)
            )
        )
        model.anatomy = anatomy.with_head("classifier", metric=anatomy.head)
    else:
        new = nn.Linear(features, outputs)
        model.anatomy = anatomy.with_head("")
    set_module(model, anatomy.head, new)


def _last_stride(model: nn.Module, stride: int) -> None:
    layer = getattr(model, "layer4", None)
    if layer is None:
        raise ValueError(
            f"last_stride: {type(model).__name__} has no layer4; allowed for torchvision ResNets"
        )
    # The strided convolution is conv2 of a bottleneck and conv1 of a basic block.
    block = layer[0]
    (block.conv2 if hasattr(block, "conv3") else block.conv1).stride = (stride, stride)
    block.downsample[0].stride = (stride, stride)


def _small_image_stem(model: nn.Module) -> None:
    anatomy = anatomy_of(model)
    old = model.get_submodule(anatomy.stem)
    if not isinstance(old, nn.Conv2d) or not anatomy.stem_pool:
        raise ValueError(
            f"stem: {type(model).__name__} has no convolution and pooling to replace; small_image "
            "is for models with an ImageNet stem, such as ResNets"
        )
    new = type(old)(
        old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=old.bias is not None
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    set_module(model, anatomy.stem, new)
    set_module(model, anatomy.stem_pool, nn.Identity())
