"""Robustness to perturbed images: Gaussian noise, one black square, and gradient-sign steps.

One pass over the images serves every probe, intensity and repeat. Intensities share their draws:
the curve over intensities then shows the intensity, not the luck of each point.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

from xferpipe.config.minimisers import InputProbes
from xferpipe.minimisers.probe_images import Outcomes, ProbeImages, outcomes_of
from xferpipe.minimisers.readings import Reading, over_images, over_repeats
from xferpipe.seeding import numpy_generator
from xferpipe.training.memory import Pieces
from xferpipe.zoo.normalisation import own_modes

#: A perturbation: probe, intensity, repeat.
_Key = tuple[str, float, int]


def add_noise(pixels: Tensor, noise: Tensor, level: float) -> Tensor:
    """Add `level` times standard normal `noise`; not clipped, as a model's input need not be."""
    return torch.add(pixels, noise, alpha=level)


def black_square(pixels: Tensor, places: Tensor, side: float) -> Tensor:
    """Black out one square of each image.

    Args:
        pixels: (n, channels, h, w).
        places: Where the square lies among the places it fits in, [0, 1), (n, 2): down, across.
        side: Fraction of the shorter side of the image, rounded to whole pixels.
    Returns:
        Pixels with every channel of the square at 0.
    """
    h, w = pixels.shape[-2:]
    side_px = round(side * min(h, w))
    rooms = torch.tensor([h - side_px + 1, w - side_px + 1], device=places.device)
    top, left = (places * rooms).long().unbind(1)
    down = torch.arange(h, device=pixels.device) - top[:, None]
    across = torch.arange(w, device=pixels.device) - left[:, None]
    inside = ((down >= 0) & (down < side_px))[:, :, None]
    inside = inside & ((across >= 0) & (across < side_px))[:, None, :]
    return pixels.masked_fill(inside[:, None], 0)


def loss_gradient(
    classifier: nn.Module, pixels: Tensor, labels: Tensor, pieces: Pieces
) -> tuple[Outcomes, Tensor]:
    """Return the outcomes of the images as they are, and the gradient of each one's loss.

    The loss is summed, so that an image's gradient does not depend on its batch.
    """

    def one(pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            pixels = pixels.detach().requires_grad_(True)
            logits = classifier(pixels)
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, pixels)
        return logits.detach(), gradient

    passed = pieces.retry(
        lambda: [one(*piece) for piece in pieces.split(pixels, labels)], len(pixels)
    )
    logits, gradient = (torch.cat(parts) for parts in zip(*passed, strict=True))
    return outcomes_of(logits, labels), gradient


def gradient_sign_step(pixels: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """Step by `epsilon` along the gradient's sign, clipped to [0, 1] (FGSM).

    Source:
        Goodfellow et al., ICLR 2015, section 4. The clipping is ours.
    """
    return torch.add(pixels, gradient.sign(), alpha=epsilon).clamp_(0, 1)


def input_probes(
    classifier: nn.Module,
    images: ProbeImages,
    probes: InputProbes,
    *,
    seed: int,
    confidence: float = 0.95,
) -> list[Reading]:
    """Classify the images as they are and under every perturbation, in one pass over them.

    Args:
        classifier: Maps pixels in [0, 1] to logits; evaluated in evaluation mode.
        images: n images; the draws belong to their order, never to the batches.
        probes: Intensities and repeats.
        seed: Seed of the noise and of the squares' places.
        confidence: Level of the intervals.
    Returns:
        Accuracy and loss of every probe and intensity. Noise and mask: the mean over repeats and
        its interval. Clean and FGSM draw nothing: their interval is over images.
    """
    found: dict[_Key, list[Outcomes]] = {}
    draws, pieces = _Draws(probes, seed), Pieces()
    with own_modes(classifier):
        classifier.eval()
        for pixels, labels in images:
            for key, outcomes in _perturbed(classifier, pixels, labels, probes, draws, pieces):
                found.setdefault(key, []).append(Outcomes(*(part.cpu() for part in outcomes)))
    whole = {
        key: Outcomes(*(torch.cat(part) for part in zip(*parts, strict=True)))
        for key, parts in found.items()
    }
    readings: list[Reading] = []
    for probe, intensity in dict.fromkeys((probe, intensity) for probe, intensity, _ in whole):
        repeats = [part for key, part in whole.items() if key[:2] == (probe, intensity)]
        if probe in ("clean", "fgsm"):
            readings += over_images(probe, intensity, repeats[0], confidence=confidence)
            continue
        for measure, values in (
            ("accuracy", [part.accuracy for part in repeats]),
            ("loss", [part.mean_loss for part in repeats]),
        ):
            readings.append(
                over_repeats(
                    probe, intensity, measure, values, images=len(images), confidence=confidence
                )
            )
    return readings


class _Draws:
    """One stream per repeat, read in the order of the images.

    NumPy's streams give the same numbers however many are asked for at a time; torch's do not.
    """

    def __init__(self, probes: InputProbes, seed: int) -> None:
        self._noise = [
            numpy_generator(seed, "minimisers", "noise", repeat)
            for repeat in range(probes.noise_repeats if probes.noise_levels else 0)
        ]
        self._places = [
            numpy_generator(seed, "minimisers", "mask", repeat)
            for repeat in range(probes.mask_repeats if probes.mask_sides else 0)
        ]

    def noise(self, pixels: Tensor) -> Iterator[Tensor]:
        for generator in self._noise:
            drawn = generator.standard_normal(tuple(pixels.shape), dtype=numpy.float32)
            yield torch.from_numpy(drawn).to(pixels)

    def places(self, pixels: Tensor) -> Iterator[Tensor]:
        for generator in self._places:
            yield torch.from_numpy(generator.random((len(pixels), 2))).to(pixels.device)


def _perturbed(
    classifier: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    probes: InputProbes,
    draws: _Draws,
    pieces: Pieces,
) -> Iterator[tuple[_Key, Outcomes]]:
    """Yield the outcomes of one batch under everything."""

    @torch.inference_mode()
    def classify(pixels: Tensor) -> Outcomes:
        return outcomes_of(torch.cat(pieces.map(classifier, pixels)), labels)

    if probes.fgsm_epsilons:
        clean, gradient = loss_gradient(classifier, pixels, labels, pieces)
    else:
        clean, gradient = classify(pixels), pixels
    yield ("clean", 0.0, 0), clean
    for epsilon in probes.fgsm_epsilons:
        stepped = gradient_sign_step(pixels, gradient, epsilon)
        yield ("fgsm", epsilon, 0), classify(stepped)
    for repeat, noise in enumerate(draws.noise(pixels)):
        for level in probes.noise_levels:
            noisy = add_noise(pixels, noise, level)
            yield ("noise", level, repeat), classify(noisy)
    for repeat, places in enumerate(draws.places(pixels)):
        for side in probes.mask_sides:
            masked = black_square(pixels, places, side)
            yield ("mask", side, repeat), classify(masked)
