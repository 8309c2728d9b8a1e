"""What is done to images before a model sees them. Names are torchvision's where it has one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xferpipe.config.base import Block

Strength = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=8, le=1024)]


class Augmentation(Block):
    """The image side of a recipe, in the order in which it is applied."""

    train_resize_size: Side | None = Field(
        None, description="Side in pixels before training crops; unset: the data set's image_px."
    )
    random_resized_crop: tuple[Fraction, Fraction] | None = Field(
        None,
        description="Share of the area that a training crop covers, e.g. [0.08, 1]; it is resized "
        "to train_crop_size. Unset: crops are not resized.",
    )
    crop_padding_px: int = Field(0, ge=0, description="Zero padding before a random crop.")
    train_crop_size: Side | None = Field(
        None, description="Side in pixels of training images; unset: the side before the crop."
    )
    val_resize_size: Side | None = Field(
        None, description="Side in pixels before the centre crop of evaluation; unset: image_px."
    )
    val_crop_size: Side | None = Field(
        None, description="Side in pixels of the centre crop of evaluation; unset: no crop."
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        "bilinear", description="Of every resize, antialiased."
    )
    horizontal_flip: Fraction = Field(0.0, description="Probability of a mirror image.")
    rotation_degrees: float = Field(
        0.0, ge=0, le=180, description="Turn by at most this much, bilinear, zeros outside."
    )
    auto_augment: Literal["ta_wide", "ra", "augmix"] | None = Field(
        None, description="A policy of torchvision's, drawn for each image."
    )
    color_jitter: tuple[Strength, Strength, Strength, Annotated[float, Field(ge=0, le=0.5)]] | (
        None
    ) = Field(
        None, description="Strengths of brightness, contrast, saturation (>= 0) and hue (<= 0.5)."
    )
    pca_lighting: Literal["alexnet", "torchreid"] | None = Field(
        None,
        description="Colour noise along ImageNet's principal colours (`color_augmentation`); "
        "`torchreid` has the eigenvectors transposed, as that code does.",
    )
    pca_lighting_std: Strength = Field(0.1, description="Deviation of `pca_lighting`.")
    pca_lighting_probability: Fraction = Field(0.5, description="Probability of `pca_lighting`.")
    noise_std: Strength = Field(
        0.0, description="Deviation of Gaussian noise on pixels in [0, 1], fresh at every showing."
    )
    random_erase: Fraction = Field(0.0, description="Probability of random erasing.")
    mixup_alpha: Strength = Field(0.0, description="Beta parameter of mixup; 0: off.")
    cutmix_alpha: Strength = Field(
        0.0, description="Beta parameter of CutMix; 0: off. With mixup, one of both is drawn."
    )

    @model_validator(mode="after")
    def _crops_possible(self) -> Augmentation:
        share = self.random_resized_crop
        if share is not None and not 0 < share[1] >= share[0]:
            raise ValueError(f"random_resized_crop: {list(share)} must ascend, to above 0")
        if misfit := self.misfit(None):
            raise ValueError(misfit)
        return self

    @property
    def gives_sizes(self) -> bool:
        """Whether it says which side images have: then no model's own side counts."""
        return any(
            (
                self.train_resize_size,
                self.train_crop_size,
                self.val_resize_size,
                self.val_crop_size,
            )
        )

    def sides(self, image_px: int) -> tuple[int, int]:
        """Return the sides in pixels of the images that a model is trained and evaluated on.

        Args:
            image_px: Side of the images before.
        """
        train = self.train_crop_size or self.train_resize_size or image_px
        return train, self.val_crop_size or self.val_resize_size or image_px

    def misfit(self, image_px: int | None) -> str | None:
        """Say which crop is larger than what it is cut from; None if none is, as far as is known.

        Args:
            image_px: Side of the data set's images; None leaves sizes that follow from it unsaid.
        """
        train = self.train_resize_size or image_px
        if train is not None and self.random_resized_crop is None:
            train += 2 * self.crop_padding_px
            if (self.train_crop_size or 0) > train:
                return _larger("train_crop_size", self.train_crop_size, train)
        val = self.val_resize_size or image_px
        if val is not None and (self.val_crop_size or 0) > val:
            return _larger("val_crop_size", self.val_crop_size, val)
        return None


def _larger(name: str, crop: int, side: int) -> str:
    resize = name.replace("crop", "resize")
    return (
        f"{name} ({crop}) is larger than the {side} px it is cut from; set {resize}, or image_px "
        f"of the data set, to {crop} or more"
    )
