"""Batch augmentation on the device, and the preprocessing of evaluation.

Every random number comes from a stream named by (seed, what it decides, step): a resumed run
repeats the bits of an undisturbed one, and turning one option on moves no draw of another. All but
noise are drawn on the CPU and copied, so that they are the same on every device. Each
image of a batch has its own draws, unless a function says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xferpipe.config.augmentation import Augmentation
from xferpipe.datasets import colour, geometry
from xferpipe.datasets.transfer import onto
from xferpipe.seeding import numpy_generator, stream, torch_generator

if TYPE_CHECKING:
    from xferpipe.config.jobs import ModelSpec


class Pipeline:
    """The augmentation of one recipe for one model.

    Args:
        recipe: What is done; a training recipe is one.
        spec: The model's channel means and deviations.
        classes: Number of classes, the width of soft labels.
    """

    def __init__(self, recipe: Augmentation, spec: ModelSpec, classes: int) -> None:
        self._recipe, self._spec, self._classes = recipe, spec, classes
        self._policy = _policy(recipe) if recipe.auto_augment else None

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, *, seed: int, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment one batch.

        Args:
            images: uint8 (b, 3, h, w), on any device.
            labels: int64 (b), on the device of `images`.
            seed: Seed of the run.
            step: Number of the optimiser step since the run began, all epochs counted.
        Returns:
            Normalised float32 images (b, 3, h, w); labels int64 (b), or float32 (b, c) if mixed.
        """
        recipe = self._recipe
        images = self._geometry(images, seed, step)
        if self._policy is not None:
            images = _each_by_policy(self._policy, images, stream(seed, "auto_augment", step))
        pixels = images.to(torch.float32, copy=True).div_(255)
        if recipe.color_jitter is not None:
            draw = torch_generator(seed, "color_jitter", step)
            pixels = colour.jitter(pixels, recipe.color_jitter, draw)
        if recipe.pca_lighting is not None:
            draw = torch_generator(seed, "pca_lighting", step)
            pixels = colour.pca_lighting(
                pixels,
                recipe.pca_lighting,
                recipe.pca_lighting_std,
                recipe.pca_lighting_probability,
                draw,
            )
        if recipe.noise_std:
            # As many draws as pixels: on the device itself, unlike the few of the other options.
            draw = torch_generator(seed, "noise", step, device=str(pixels.device))
            noise = torch.randn(pixels.shape, generator=draw, device=pixels.device)
            pixels = pixels.add_(noise.mul_(recipe.noise_std))
        pixels = _normalised(pixels, self._spec)
        if recipe.random_erase:
            draw = torch_generator(seed, "random_erase", step)
            pixels = geometry.erased(pixels, recipe.random_erase, draw)
        if recipe.mixup_alpha or recipe.cutmix_alpha:
            return self._mixed(pixels, labels, seed, step)
        return pixels, labels

    def _geometry(self, images: torch.Tensor, seed: int, step: int) -> torch.Tensor:
        """Resize, crop, mirror and turn: uint8 in, uint8 out."""
        recipe = self._recipe
        if recipe.train_resize_size is not None:
            images = geometry.resized(images, recipe.train_resize_size, recipe.interpolation)
        side = recipe.train_crop_size or images.shape[-1]
        draw = torch_generator(seed, "crop", step)
        if recipe.random_resized_crop is not None:
            images = geometry.random_resized_crop(
                images, side, recipe.random_resized_crop, recipe.interpolation, draw
            )
        elif recipe.crop_padding_px or side != images.shape[-1]:
            images = geometry.random_crop(images, side, recipe.crop_padding_px, draw)
        if recipe.horizontal_flip:
            draw = torch_generator(seed, "horizontal_flip", step)
            images = geometry.mirrored(images, recipe.horizontal_flip, draw)
        if recipe.rotation_degrees:
            draw = torch_generator(seed, "rotation", step)
            images = geometry.rotated(images, recipe.rotation_degrees, draw)
        return images

    def _mixed(
        self, pixels: torch.Tensor, labels: torch.Tensor, seed: int, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix each image with its neighbour in the batch, all by one drawn weight.

        Source: Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019.
        """
        recipe = self._recipe
        draw = numpy_generator(seed, "mix", step)
        kinds = [kind for kind in ("mixup_alpha", "cutmix_alpha") if getattr(recipe, kind)]
        kind = kinds[draw.integers(len(kinds))]
        weight = float(draw.beta(getattr(recipe, kind), getattr(recipe, kind)))
        other = pixels.roll(1, 0)
        if kind == "mixup_alpha":
            pixels = weight * pixels + (1 - weight) * other
        else:
            pixels, weight = geometry.pasted(pixels, other, weight, draw)
        soft = (labels[:, None] == torch.arange(self._classes, device=labels.device)).float()
        return pixels, weight * soft + (1 - weight) * soft.roll(1, 0)


def pipeline(recipe: Augmentation, spec: ModelSpec, *, classes: int) -> Pipeline:
    """Return the training augmentation of a recipe for a model; see `Pipeline.__call__`."""
    return Pipeline(recipe, spec, classes)


def preprocess(
    images: torch.Tensor, spec: ModelSpec, recipe: Augmentation | None = None
) -> torch.Tensor:
    """Prepare a batch for evaluation: resize, centre crop, normalise.

    Args:
        images: uint8 (b, 3, h, w), on any device.
        spec: The model's channel means and deviations.
        recipe: Its `val_resize_size` and `val_crop_size`; None keeps the size.
    Returns:
        Normalised float32 images (b, 3, h, w).
    """
    if recipe is not None and recipe.val_resize_size is not None:
        images = geometry.resized(images, recipe.val_resize_size, recipe.interpolation)
    if recipe is not None and recipe.val_crop_size is not None:
        images = geometry.centre_crop(images, recipe.val_crop_size)
    return _normalised(images.to(torch.float32, copy=True).div_(255), spec)


def _normalised(pixels: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Subtract channel means from pixels in [0, 1] (b, 3, h, w) and divide by the deviations.

    In place: a fresh tensor of this size costs more to get than to fill.
    """
    mean = onto(torch.tensor(spec.mean).view(3, 1, 1), pixels.device)
    std = onto(torch.tensor(spec.std).view(3, 1, 1), pixels.device)
    return pixels.sub_(mean).div_(std)


def _policy(recipe: Augmentation) -> torch.nn.Module:
    # torchvision takes seconds to import: only recipes with a policy of its pay for it.
    from torchvision.transforms import v2

    policies = {"ta_wide": v2.TrivialAugmentWide, "ra": v2.RandAugment, "augmix": v2.AugMix}
    return policies[recipe.auto_augment](interpolation=v2.InterpolationMode(recipe.interpolation))


def _each_by_policy(policy: torch.nn.Module, images: torch.Tensor, seed: int) -> torch.Tensor:
    """Apply a policy to each image by itself: on a batch it would draw once for all of it.

    torchvision draws from torch's global state, which is therefore borrowed, seeded and put back.
    """
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        return torch.stack([policy(image) for image in images])
