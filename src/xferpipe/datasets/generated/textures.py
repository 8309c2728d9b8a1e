"""Periodic and random textures: a source that knows no outlines."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy

from xferpipe.datasets.generated.strokes import paint

#: Wavelengths and grain sizes as parts of the image's side, so that classes look alike at any size.
_FINE, _MIDDLE, _COARSE = 0.19, 0.31, 0.5


def _wave(u: numpy.ndarray, wavelength: float, generator: numpy.random.Generator) -> numpy.ndarray:
    phase = generator.uniform(0, 2 * math.pi)
    return numpy.sin(2 * math.pi * u / wavelength + phase)


def _turned(
    px: int, degrees: float, generator: numpy.random.Generator
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return coordinates along and across a direction that varies a little around `degrees`."""
    angle = math.radians(degrees + generator.uniform(-8, 8))
    y, x = numpy.mgrid[0:px, 0:px] / px
    return (
        x * math.cos(angle) + y * math.sin(angle),
        y * math.cos(angle) - x * math.sin(angle),
    )


def _stripes(degrees: float, wavelength: float) -> Callable[..., numpy.ndarray]:
    def draw_stripes(px: int, generator: numpy.random.Generator) -> numpy.ndarray:
        u, _ = _turned(px, degrees, generator)
        return _wave(u, wavelength * generator.uniform(0.9, 1.1), generator)

    return draw_stripes


def _checks(degrees: float, wavelength: float) -> Callable[..., numpy.ndarray]:
    def draw_checks(px: int, generator: numpy.random.Generator) -> numpy.ndarray:
        u, v = _turned(px, degrees, generator)
        period = wavelength * generator.uniform(0.9, 1.1)
        return numpy.sign(_wave(u, period, generator) * _wave(v, period, generator))

    return draw_checks


def _dots(wavelength: float) -> Callable[..., numpy.ndarray]:
    def draw_dots(px: int, generator: numpy.random.Generator) -> numpy.ndarray:
        u, v = _turned(px, 0, generator)
        period = wavelength * generator.uniform(0.9, 1.1)
        height = _wave(u, period, generator) + _wave(v, period, generator)
        return numpy.where(height > 0.7, 1.0, -1.0)

    return draw_dots


def _rings(wavelength: float) -> Callable[..., numpy.ndarray]:
    def draw_rings(px: int, generator: numpy.random.Generator) -> numpy.ndarray:
        y, x = numpy.mgrid[0:px, 0:px] / px - generator.uniform(0.35, 0.65, 2)[:, None, None]
        return _wave(numpy.hypot(x, y), wavelength * generator.uniform(0.9, 1.1), generator)

    return draw_rings


def _grain(size: float) -> Callable[..., numpy.ndarray]:
    def draw_grain(px: int, generator: numpy.random.Generator) -> numpy.ndarray:
        """Filter white noise with a Gaussian of deviation `size` / 4 in the frequency domain."""
        noise = generator.normal(size=(px, px))
        frequency = numpy.hypot(*numpy.meshgrid(numpy.fft.fftfreq(px), numpy.fft.fftfreq(px)))
        deviation_px = px * size / 4
        low_pass = numpy.exp(-2 * (math.pi * frequency * deviation_px) ** 2)
        smooth = numpy.fft.ifft2(numpy.fft.fft2(noise) * low_pass).real
        return smooth / smooth.std()

    return draw_grain


_TEXTURES: dict[str, Callable[..., numpy.ndarray]] = {
    "stripes_0_fine": _stripes(0, _FINE),
    "stripes_90_fine": _stripes(90, _FINE),
    "checks_middle": _checks(0, _MIDDLE),
    "grain_coarse": _grain(_COARSE),
    "stripes_45_middle": _stripes(45, _MIDDLE),
    "dots_middle": _dots(_MIDDLE),
    "rings_middle": _rings(_MIDDLE),
    "grain_fine": _grain(_FINE),
    "stripes_0_coarse": _stripes(0, _COARSE),
    "stripes_90_coarse": _stripes(90, _COARSE),
    "stripes_135_middle": _stripes(135, _MIDDLE),
    "checks_coarse": _checks(0, _COARSE),
    "checks_turned_middle": _checks(45, _MIDDLE),
    "grain_middle": _grain(_MIDDLE),
    "dots_coarse": _dots(_COARSE),
    "rings_coarse": _rings(_COARSE),
    "rings_fine": _rings(_FINE),
    "stripes_45_fine": _stripes(45, _FINE),
    "stripes_135_fine": _stripes(135, _FINE),
    "stripes_45_coarse": _stripes(45, _COARSE),
    "stripes_135_coarse": _stripes(135, _COARSE),
    "stripes_0_middle": _stripes(0, _MIDDLE),
    "stripes_90_middle": _stripes(90, _MIDDLE),
    "checks_turned_coarse": _checks(45, _COARSE),
    "checks_fine": _checks(0, _FINE),
    "dots_fine": _dots(_FINE),
}
CLASS_NAMES = tuple(_TEXTURES)


def draw(label: int, px: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Draw one texture with random phase, scale, turn, contrast, colours and noise."""
    height = _TEXTURES[CLASS_NAMES[label]](px, generator)
    contrast = generator.uniform(0.5, 1)
    return paint(numpy.clip(0.5 + 0.5 * contrast * height, 0, 1), generator)
