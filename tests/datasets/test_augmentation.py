"""Augmentation: against torchvision where it has the same, repeatable by seed and step always."""

from __future__ import annotations

import subprocess
import sys

import numpy
import pytest
import scipy.stats
import torch
from pydantic import ValidationError
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.v2 import functional

from xferpipe.config.augmentation import Augmentation
from xferpipe.config.jobs import ModelSpec
from xferpipe.datasets import augmentation, colour, geometry

SPEC = ModelSpec(
    architecture="cifar_resnet8", width=16, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
PLAIN = ModelSpec(architecture="cifar_resnet8", width=16, mean=(0, 0, 0), std=(1, 1, 1))


def some_images(b=6, height=20, width=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (b, 3, height, width or height)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def run(recipe, images, *, seed=0, step=0, spec=PLAIN, classes=4):
    labels = torch.arange(len(images)) % classes
    return augmentation.pipeline(recipe, spec, classes=classes)(
        images, labels, seed=seed, step=step
    )


OPTIONS = {
    "crop": {"crop_padding_px": 3},
    "resized_crop": {"random_resized_crop": (0.1, 1.0), "train_crop_size": 12},
    "flip": {"horizontal_flip": 0.5},
    "rotation": {"rotation_degrees": 30},
    "ta_wide": {"auto_augment": "ta_wide"},
    "ra": {"auto_augment": "ra"},
    "augmix": {"auto_augment": "augmix"},
    "jitter": {"color_jitter": (0.4, 0.4, 0.4, 0.1)},
    "alexnet": {"pca_lighting": "alexnet"},
    "torchreid": {"pca_lighting": "torchreid"},
    "noise": {"noise_std": 0.05},
    "erase": {"random_erase": 0.5},
    "mixup": {"mixup_alpha": 0.4},
    "cutmix": {"cutmix_alpha": 1.0},
    "both": {"mixup_alpha": 0.2, "cutmix_alpha": 1.0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_pipeline_same_seed_and_step_repeat_the_bits_whatever_torch_drew_before(options):
    recipe, images = Augmentation(**options), some_images()
    first, first_labels = run(recipe, images, seed=5, step=9)
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again, again_labels = run(recipe, images, seed=5, step=9)
    assert torch.equal(first, again)
    assert torch.equal(first_labels, again_labels)
    assert torch.equal(torch.random.get_rng_state(), before)
    others = [run(recipe, images, seed=seed, step=step)[0] for seed, step in ((6, 9), (5, 10))]
    assert all(not torch.equal(first, other) for other in others)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_pipeline_leaves_the_batch_it_was_given_alone(options):
    images = some_images()
    kept = images.clone()
    out, _ = run(Augmentation(**options), images)
    assert torch.equal(images, kept)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


def test_pipeline_nothing_asked_only_normalises():
    images = some_images()
    pixels, labels = run(Augmentation(), images, spec=SPEC)
    expected = functional.normalize(images.float() / 255, list(SPEC.mean), list(SPEC.std))
    assert torch.equal(pixels, augmentation.preprocess(images, SPEC))
    torch.testing.assert_close(pixels, expected)
    assert labels.tolist() == [0, 1, 2, 3, 0, 1]


def test_pipeline_one_option_more_moves_no_draw_of_another():
    images = some_images()
    flipped, _ = run(Augmentation(horizontal_flip=0.5), images)
    both, _ = run(Augmentation(horizontal_flip=0.5, random_erase=1.0), images)
    inside = both != 0
    assert torch.equal(both[inside], flipped[inside])


@pytest.mark.parametrize(
    "options",
    [
        {name: value for part in OPTIONS.values() for name, value in part.items()}
        | {"auto_augment": None, "train_resize_size": 24, "crop_padding_px": 0, "noise_std": 0},
        OPTIONS["crop"],
        OPTIONS["mixup"],
    ],
)
def test_pipeline_on_another_device_mixes_none_of_the_cpu_in(options, monkeypatch):
    """Fake tensors check devices without one being there: an operand left on the CPU raises."""
    monkeypatch.setattr(torch, "randperm", lambda n, generator: numpy.arange(n))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="cuda")
        labels = torch.zeros(4, dtype=torch.int64, device="cuda")
        augment = augmentation.pipeline(Augmentation(**options), SPEC, classes=5)
        for out in augment(images, labels, seed=0, step=0):
            assert out.device.type == "cuda"
        recipe = Augmentation(val_resize_size=24, val_crop_size=16)
        assert augmentation.preprocess(images, SPEC, recipe).device.type == "cuda"


def test_random_crop_each_image_is_a_window_of_the_padded_one():
    images = some_images(b=400, height=9)
    cropped = geometry.random_crop(images, 9, 2, draw())
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    places = set()
    for image, source in zip(cropped, padded, strict=True):
        at = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if torch.equal(image, source[:, i : i + 9, j : j + 9])
        ]
        assert at
        places.update(at)
    assert places == {(i, j) for i in range(5) for j in range(5)}


def test_random_crop_larger_than_the_image_says_so():
    with pytest.raises(
        ValueError, match=r"train_crop_size \(32\) is larger than the padded images"
    ):
        geometry.random_crop(some_images(), 32, 1, draw())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("start", "length", "side"), [(0, 20, 8), (3, 11, 16), (5, 1, 4), (2, 17, 17)]
)
def test_resize_matrices_equal_torchvision_crop_and_antialiased_resize(
    interpolation, start, length, side
):
    image = some_images(b=1, height=20)[0].double()
    one = torch.tensor
    matrix = geometry.resize_matrices(one([start]), one([length]), 20, side, interpolation)[
        0
    ].double()
    expected = functional.resized_crop(
        image,
        start,
        start,
        length,
        length,
        [side, side],
        interpolation=functional.InterpolationMode(interpolation),
        antialias=True,
    )
    torch.testing.assert_close(matrix @ image @ matrix.T, expected, atol=2e-4, rtol=1e-5)


def test_random_resized_crop_areas_and_ratios_cover_their_ranges():
    top, left, tall, wide = geometry._boxes(4000, 64, 64, (0.2, 0.8), (3 / 4, 4 / 3), draw())
    area, ratio = (tall * wide) / 64**2, wide / tall
    assert 0.19 < area.min() < 0.21
    assert 0.78 < area.max() < 0.82
    # Rounding to pixels moves a ratio by up to 1/27 at the smallest area.
    assert 0.72 < ratio.min() < 0.78
    assert 1.28 < ratio.max() < 1.39
    assert abs(area.mean() - 0.5) < 0.02
    assert (top >= 0).all()
    assert (top + tall <= 64).all()
    assert (left + wide <= 64).all()
    # A box as wide as the image touches both edges wherever it may lie: smaller ones must, too.
    for start, length in ((top, tall), (left, wide)):
        small = length < 48
        assert (start[small] == 0).any()
        assert (start[small] + length[small] == 64).any()


def test_random_resized_crop_no_box_fits_takes_the_largest_centred_one():
    top, left, tall, wide = geometry._boxes(3, 8, 80, (1.0, 1.0), (3 / 4, 4 / 3), draw())
    assert top.tolist() == [0] * 3
    assert tall.tolist() == [8] * 3
    assert wide.tolist() == [11] * 3
    assert left.tolist() == [34] * 3


def test_random_resized_crop_constant_images_stay_constant():
    images = torch.full((4, 3, 30, 20), 77, dtype=torch.uint8)
    assert (geometry.random_resized_crop(images, 16, (0.1, 1), "bicubic", draw()) == 77).all()


def test_mirrored_probability_decides_how_many():
    images = some_images(b=400, height=8)
    out = geometry.mirrored(images, 0.25, draw())
    flipped = (out == images.flip(-1)).all((1, 2, 3))
    assert (flipped | (out == images).all((1, 2, 3))).all()
    assert 70 < int(flipped.sum()) < 130
    assert torch.equal(geometry.mirrored(images, 1.0, draw()), images.flip(-1))


def test_rotated_by_a_quarter_turns_pixels_exactly(monkeypatch):
    images = some_images(height=10)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.ones(6))
    turned = geometry.rotated(images, 90, draw())
    assert any(torch.equal(turned, torch.rot90(images, k, (2, 3))) for k in (1, 3))


def test_rotated_wide_images_keep_their_shape_as_in_torchvision(monkeypatch):
    images = some_images(b=1, height=12, width=20)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.ones(1))
    ours = geometry.rotated(images, 20, draw()).int()
    candidates = [
        functional.rotate(images, angle, functional.InterpolationMode.BILINEAR).int()
        for angle in (20, -20)
    ]
    assert min((ours - other).abs().max() for other in candidates) <= 1


def test_erased_boxes_have_the_stated_areas_and_ratios():
    pixels = torch.ones(600, 3, 50, 50)
    out = geometry.erased(pixels, 1.0, draw())
    share = (out[:, 0] == 0).float().mean((1, 2))
    assert 0.015 < share.min() < 0.04
    assert 0.30 < share.max() < 0.345
    for image in out[:50, 0]:
        y, x = torch.where(image == 0)
        box = (y.max() - y.min() + 1) * (x.max() - x.min() + 1)
        assert box == len(y)
    some = geometry.erased(pixels, 0.1, draw())
    assert 30 < int((some == 0).any(1).any(1).any(1).sum()) < 95


@pytest.mark.parametrize("turns", [-0.5, -0.13, 0.0, 0.2, 0.5])
def test_shift_hue_equals_torchvision(turns):
    pixels = some_images(b=3).float() / 255
    pixels[0] = pixels[0, :1]
    expected = functional.adjust_hue(pixels, turns)
    torch.testing.assert_close(
        colour.shift_hue(pixels, torch.full((3,), turns)), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("place", "adjust"),
    [
        (0, functional.adjust_brightness),
        (1, functional.adjust_contrast),
        (2, functional.adjust_saturation),
    ],
)
def test_jitter_one_strength_equals_torchvision_with_its_factor(place, adjust):
    pixels = some_images(b=5).float() / 255
    strengths = tuple(0.7 if i == place else 0.0 for i in range(4))
    out = colour.jitter(pixels, strengths, draw(3))
    generator = draw(3)
    torch.randperm(4, generator=generator)
    factors = 0.3 + 1.4 * torch.rand(4, 5, generator=generator)[place]
    for image, source, factor in zip(out, pixels, factors.tolist(), strict=True):
        torch.testing.assert_close(image, adjust(source, factor), atol=1e-5, rtol=0)


def test_pca_lighting_alexnet_covariance_is_that_of_the_published_components():
    values = numpy.array([0.2175, 0.0188, 0.0045])
    vectors = numpy.array(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    pixels = torch.zeros(60000, 3, 1, 1)
    shift = colour.pca_lighting(pixels, "alexnet", 0.1, 1.0, draw()).view(-1, 3).double().numpy()
    expected = vectors @ numpy.diag((0.1 * values) ** 2) @ vectors.T
    numpy.testing.assert_allclose(numpy.cov(shift.T), expected, rtol=0.03, atol=2e-7)


def test_pca_lighting_torchreid_is_its_row_product():
    """Axes as that code prints them: columns reversed, and multiplied from the left."""
    axes = numpy.array(
        [[0.4009, 0.7192, -0.5675], [-0.8140, -0.0045, -0.5808], [0.4203, -0.6948, -0.5836]]
    )
    generator = draw(4)
    torch.rand(7, 1, generator=generator)
    alpha = torch.randn(7, 3, generator=generator).numpy() * 0.1
    expected = (numpy.array([0.2175, 0.0188, 0.0045]) * alpha) @ axes
    shift = colour.pca_lighting(torch.zeros(7, 3, 2, 2), "torchreid", 0.1, 1.0, draw(4))
    numpy.testing.assert_allclose(shift[:, :, 1, 0], expected, atol=1e-7)


def test_pca_lighting_probability_leaves_the_others_alone():
    shift = colour.pca_lighting(torch.zeros(500, 3, 1, 1), "alexnet", 0.1, 0.5, draw())
    assert 200 < int((shift != 0).any(1).sum()) < 300


def test_noise_has_its_deviation_and_is_fresh_at_every_step():
    images = torch.full((20, 3, 30, 30), 128, dtype=torch.uint8)
    first, _ = run(Augmentation(noise_std=0.05), images, step=0)
    second, _ = run(Augmentation(noise_std=0.05), images, step=1)
    assert abs(float(first.std()) - 0.05) < 0.001
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.03


def test_mixup_labels_and_pixels_share_one_weight():
    images = some_images(b=4)
    pixels, labels = run(Augmentation(mixup_alpha=0.4), images)
    weight = float(labels[0, 0])
    plain = images.float() / 255
    torch.testing.assert_close(pixels, weight * plain + (1 - weight) * plain.roll(1, 0))
    torch.testing.assert_close(labels.sum(1), torch.ones(4))
    assert 0 < weight < 1
    assert labels[0, 3] == pytest.approx(1 - weight)


@pytest.mark.parametrize("alpha", [0.4, 2.0])
def test_mixup_weight_is_of_the_symmetric_beta_distribution(alpha):
    images = torch.zeros(2, 3, 1, 1, dtype=torch.uint8)
    recipe = Augmentation(mixup_alpha=alpha)
    weights = [float(run(recipe, images, step=step)[1][0, 0]) for step in range(400)]
    assert scipy.stats.kstest(weights, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.05


def test_erased_boxes_are_the_mean_after_normalisation():
    images = some_images(b=8)
    plain, _ = run(Augmentation(), images, spec=SPEC)
    erased, _ = run(Augmentation(random_erase=1.0), images, spec=SPEC)
    changed = plain != erased
    assert changed.flatten(1).any(1).all()
    assert (erased[changed] == 0).all()


def test_cutmix_label_weight_is_the_share_of_pixels_that_stayed():
    images = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    images[1] = 255
    for step in range(20):
        pixels, labels = run(Augmentation(cutmix_alpha=1.0), images, step=step, classes=2)
        assert float(labels[0, 1]) == pytest.approx(float(pixels[0].mean()), abs=1e-6)
        assert float(labels[1, 1]) == pytest.approx(float(pixels[1].mean()), abs=1e-6)


def test_mixing_both_draws_each_about_half_of_the_time():
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    images[1] = 255
    recipe = Augmentation(mixup_alpha=1.0, cutmix_alpha=1.0)
    mixed = sum(bool(((p := run(recipe, images, step=s)[0]) * (1 - p)).any()) for s in range(80))
    assert 25 < mixed < 55


def test_policy_draws_for_each_image_by_itself():
    one = some_images(b=1, height=16)
    out, _ = run(Augmentation(auto_augment="ta_wide"), one.repeat(12, 1, 1, 1))
    assert len(torch.unique(out.flatten(1), dim=0)) > 4


@pytest.mark.parametrize(("resize", "crop"), [(None, None), (12, None), (16, 12), (None, 12)])
def test_preprocess_equals_torchvision_resize_and_centre_crop(resize, crop):
    images = some_images(height=20)
    out = augmentation.preprocess(
        images, PLAIN, Augmentation(val_resize_size=resize, val_crop_size=crop)
    )
    expected = images
    if resize:
        expected = functional.resize(expected, [resize, resize], antialias=True)
    if crop:
        expected = functional.center_crop(expected, [crop, crop])
    assert (out * 255 - expected.float()).abs().max() <= 1.001
    if not resize:
        torch.testing.assert_close(out * 255, expected.float())


def test_preprocess_crop_larger_than_the_image_says_so():
    with pytest.raises(ValueError, match=r"val_crop_size \(64\) is larger than the images"):
        augmentation.preprocess(some_images(), PLAIN, Augmentation(val_crop_size=64))


@pytest.mark.parametrize(
    "options",
    [
        {"val_resize_size": 16, "val_crop_size": 32},
        {"train_resize_size": 16, "train_crop_size": 32},
        {"random_resized_crop": (0.9, 0.1)},
        {"color_jitter": (0.1, 0.1, 0.1, 0.6)},
        {"random_erase": 1.5},
        {"auto_augment": "autoaugment"},
    ],
)
def test_augmentation_impossible_options_are_refused(options):
    with pytest.raises(ValidationError):
        Augmentation(**options)


def test_pipeline_without_a_policy_never_imports_torchvision():
    code = (
        "import sys\n"
        "from xferpipe.config.augmentation import Augmentation\n"
        "from xferpipe.config.jobs import ModelSpec\n"
        "import torch, xferpipe.datasets.augmentation as a, xferpipe.datasets.samplers\n"
        "spec = ModelSpec(architecture='x', width=4, mean=(0, 0, 0), std=(1, 1, 1))\n"
        "recipe = Augmentation(color_jitter=(.1, .1, .1, .1), random_erase=1, rotation_degrees=9,\n"
        "    pca_lighting='alexnet', mixup_alpha=1, random_resized_crop=(.5, 1))\n"
        "images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)\n"
        "a.pipeline(recipe, spec, classes=2)(images, torch.tensor([0, 1]), seed=0, step=0)\n"
        "print('torchvision' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
