"""Which part of an image a model sees, and how large."""

from __future__ import annotations

import numpy
import pytest
import torch
from torchvision.transforms.v2 import functional

from xferpipe.config.augmentation import Augmentation
from xferpipe.config.jobs import ModelSpec
from xferpipe.datasets.images import Images
from xferpipe.training.labelled import LabelledImages

PIXELS = torch.from_numpy(
    numpy.random.default_rng(0).integers(0, 256, (4, 3, 40, 40), dtype=numpy.uint8)
)


class Held(Images):
    px = 40

    def __len__(self):
        return len(PIXELS)

    def batch(self, rows):
        return PIXELS[rows]

    def batches(self, rows):
        return map(self.batch, rows)


def seen(recipe=None, **spec):
    usual = {"architecture": "cifar_resnet8", "width": 4, "mean": (0,) * 3, "std": (1,) * 3}
    data = LabelledImages(
        Held(),
        numpy.arange(4),
        numpy.zeros(4),
        ModelSpec(**usual | spec),
        torch.device("cpu"),
        recipe,
    )
    (trained, _), *_ = data.training([numpy.arange(4)], classes=1, seed=0, first_step=0)
    (evaluated, _), *_ = data.evaluation(4)
    return trained, evaluated


@pytest.mark.parametrize(
    ("crop_pct", "resized", "interpolation"),
    [(1.0, 24, "bilinear"), (0.75, 32, "bicubic"), (0.9, 26, "bilinear")],
)
def test_model_with_a_side_sees_the_middle_of_the_resized_image(crop_pct, resized, interpolation):
    """As torchvision's presets of evaluation: resize, then crop the middle."""
    for pixels in seen(image_px=24, crop_pct=crop_pct, interpolation=interpolation):
        mode = functional.InterpolationMode(interpolation)
        # In floats: between the two axes torchvision's bicubic of bytes cuts off what overshoots.
        whole = functional.resize(PIXELS.float(), [resized], interpolation=mode).clamp(0, 255)
        expected = functional.center_crop(whole, [24])
        torch.testing.assert_close(pixels, expected / 255, rtol=0, atol=1.01 / 255)


def test_model_without_a_side_and_recipe_with_sizes_know_no_crop():
    for pixels in seen():
        torch.testing.assert_close(pixels, PIXELS / 255)
    _, evaluated = seen(Augmentation(val_crop_size=40), image_px=24, crop_pct=0.5)
    torch.testing.assert_close(evaluated, PIXELS / 255)
